# fish completion for pixseal-stress-test: made from pixseal-stress-test --help
complete -c pixseal-stress-test -n __fish_use_subcommand -a compare
complete -c pixseal-stress-test -l ca -r
complete -c pixseal-stress-test -l cert -r
complete -c pixseal-stress-test -l cluster -r
complete -c pixseal-stress-test -l concurrency -r
complete -c pixseal-stress-test -l csv -r
complete -c pixseal-stress-test -l drill -r
complete -c pixseal-stress-test -l fail-if -r
complete -c pixseal-stress-test -l help -s h
complete -c pixseal-stress-test -l html -r
complete -c pixseal-stress-test -l images -s n -r
complete -c pixseal-stress-test -l json -r
complete -c pixseal-stress-test -l keep
complete -c pixseal-stress-test -l key -r
complete -c pixseal-stress-test -l log -r
complete -c pixseal-stress-test -l max-size -r
complete -c pixseal-stress-test -l min-size -r
complete -c pixseal-stress-test -l offer
complete -c pixseal-stress-test -l plain
complete -c pixseal-stress-test -l rate -r
complete -c pixseal-stress-test -l seed -r
complete -c pixseal-stress-test -l source
complete -c pixseal-stress-test -l spawn -r
complete -c pixseal-stress-test -l timeout -r
complete -c pixseal-stress-test -l token-file -r
complete -c pixseal-stress-test -l user -r
complete -c pixseal-stress-test -l verify
complete -c pixseal-stress-test -l version -s V
complete -c pixseal-stress-test -l yes -s y
