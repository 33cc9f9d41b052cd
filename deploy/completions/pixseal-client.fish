# fish completion for pixseal-client: made from pixseal-client --help
complete -c pixseal-client -n __fish_use_subcommand -a put
complete -c pixseal-client -n __fish_use_subcommand -a get
complete -c pixseal-client -n __fish_use_subcommand -a ls
complete -c pixseal-client -n __fish_use_subcommand -a rm
complete -c pixseal-client -n __fish_use_subcommand -a status
complete -c pixseal-client -n __fish_use_subcommand -a rebalance
complete -c pixseal-client -l all
complete -c pixseal-client -l ca -r
complete -c pixseal-client -l cert -r
complete -c pixseal-client -l cluster -s c -r
complete -c pixseal-client -l force -s f
complete -c pixseal-client -l help -s h
complete -c pixseal-client -l jobs -s j -r
complete -c pixseal-client -l json
complete -c pixseal-client -l key -r
complete -c pixseal-client -l long -s l
complete -c pixseal-client -l name -r
complete -c pixseal-client -l no-clobber -s n
complete -c pixseal-client -l output -s o -r
complete -c pixseal-client -l recursive -s r
complete -c pixseal-client -l server -s s -r
complete -c pixseal-client -l skip-same
complete -c pixseal-client -l timeout -r
complete -c pixseal-client -l token-file -r
complete -c pixseal-client -l user -s u -r
complete -c pixseal-client -l version -s V
complete -c pixseal-client -l watch -s w
complete -c pixseal-client -l yes -s y
