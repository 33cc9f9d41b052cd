# bash completion for pixseal-server: made from pixseal-server --help
_pixseal_server() {
    local word=${COMP_WORDS[COMP_CWORD]}
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W '--allow-host --blocks --body-max --ca --cert --client-ca --cluster --connections --connections-per-address --disk-min-free --drain --durability --grace --health-timeout --help --images --insecure-allow-remote --key --listen --log --metrics-open --pixels-max --png --queue --relay --secrets --token-rate --undrain --user-quota --version --workers' -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W '' -- "$word"; compgen -f -- "$word") ;;
    esac
}
complete -o filenames -F _pixseal_server pixseal-server
