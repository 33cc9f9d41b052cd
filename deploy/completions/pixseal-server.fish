# fish completion for pixseal-server: made from pixseal-server --help
complete -c pixseal-server -l allow-host -r
complete -c pixseal-server -l blocks -r
complete -c pixseal-server -l body-max -r
complete -c pixseal-server -l ca -r
complete -c pixseal-server -l cert -r
complete -c pixseal-server -l client-ca -r
complete -c pixseal-server -l cluster -r
complete -c pixseal-server -l connections -r
complete -c pixseal-server -l connections-per-address -r
complete -c pixseal-server -l disk-min-free -r
complete -c pixseal-server -l drain -r
complete -c pixseal-server -l durability -r
complete -c pixseal-server -l grace -r
complete -c pixseal-server -l health-timeout -r
complete -c pixseal-server -l help
complete -c pixseal-server -l images -r
complete -c pixseal-server -l insecure-allow-remote
complete -c pixseal-server -l key -r
complete -c pixseal-server -l listen -r
complete -c pixseal-server -l log -r
complete -c pixseal-server -l metrics-open
complete -c pixseal-server -l pixels-max -r
complete -c pixseal-server -l png -r
complete -c pixseal-server -l queue -r
complete -c pixseal-server -l relay
complete -c pixseal-server -l secrets -r
complete -c pixseal-server -l token-rate -r
complete -c pixseal-server -l undrain -r
complete -c pixseal-server -l user-quota -r
complete -c pixseal-server -l version
complete -c pixseal-server -l workers -r
