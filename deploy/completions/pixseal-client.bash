# bash completion for pixseal-client: made from pixseal-client --help
_pixseal_client() {
    local word=${COMP_WORDS[COMP_CWORD]}
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W '--all --ca --cert --cluster --force --help --jobs --json --key --long --name --no-clobber --output --recursive --server --skip-same --timeout --token-file --user --version --watch --yes' -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W 'put get ls rm status rebalance' -- "$word"; compgen -f -- "$word") ;;
    esac
}
complete -o filenames -F _pixseal_client pixseal-client
