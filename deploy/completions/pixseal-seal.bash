# bash completion for pixseal-seal: made from pixseal-seal --help
_pixseal_seal() {
    local word=${COMP_WORDS[COMP_CWORD]}
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W '--as --expires --help --output --rights --secrets --version' -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W 'keyset token open verify' -- "$word"; compgen -f -- "$word") ;;
    esac
}
complete -o filenames -F _pixseal_seal pixseal-seal
