# bash completion for pixseal-stress-test: made from pixseal-stress-test --help
_pixseal_stress_test() {
    local word=${COMP_WORDS[COMP_CWORD]}
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W '--ca --cert --cluster --concurrency --csv --drill --fail-if --help --html --images --json --keep --key --log --max-size --min-size --offer --plain --rate --seed --source --spawn --timeout --token-file --user --verify --version --yes' -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W 'compare' -- "$word"; compgen -f -- "$word") ;;
    esac
}
complete -o filenames -F _pixseal_stress_test pixseal-stress-test
