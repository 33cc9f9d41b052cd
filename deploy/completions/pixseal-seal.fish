# fish completion for pixseal-seal: made from pixseal-seal --help
complete -c pixseal-seal -n __fish_use_subcommand -a keyset
complete -c pixseal-seal -n __fish_use_subcommand -a token
complete -c pixseal-seal -n __fish_use_subcommand -a open
complete -c pixseal-seal -n __fish_use_subcommand -a verify
complete -c pixseal-seal -l as -r
complete -c pixseal-seal -l expires -r
complete -c pixseal-seal -l help
complete -c pixseal-seal -l output -s o -r
complete -c pixseal-seal -l rights -r
complete -c pixseal-seal -l secrets -r
complete -c pixseal-seal -l version
