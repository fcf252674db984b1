package main

// scripts are what completion prints. They only carry words to and fro; what
// fits where is decided by the program itself, see completer.
func scripts() map[string]string {
	return map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}
}

const bashScript = `# bash completion for holdfast
# use:  source <(holdfast completion bash)

_holdfast() {
    local word="${COMP_WORDS[COMP_CWORD]}" line files=""
    COMPREPLY=()
    # bash splits at = and :, so the word is taken from the line itself
    local typed="${COMP_LINE:0:COMP_POINT}"
    local -a words
    read -r -a words <<<"$typed"
    [[ "$typed" == *[[:space:]] ]] && words+=("")
    while IFS= read -r line; do
        if [[ "$line" == ":files" ]]; then
            files=1
        else
            COMPREPLY+=("${line%%$'\t'*}")
        fi
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
    if [[ -n "$files" ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$word")
    elif [[ "${words[${#words[@]}-1]}" == *=* && "${#COMPREPLY[@]}" -gt 0 ]]; then
        COMPREPLY=("${COMPREPLY[@]#*=}")
    fi
    [[ "${#COMPREPLY[@]}" -eq 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _holdfast holdfast
`

const zshScript = `#compdef holdfast
# zsh completion for holdfast
# use:  source <(holdfast completion zsh)      or put it into $fpath as _holdfast

_holdfast() {
    local -a lines candidates
    local line files=""
    lines=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in "${lines[@]}"; do
        [[ -z "$line" ]] && continue
        if [[ "$line" == ":files" ]]; then
            files=1
        else
            candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        fi
    done
    (( ${#candidates} )) && _describe -V 'holdfast' candidates
    [[ -n "$files" ]] && _files
    return 0
}
if [[ "${funcstack[1]}" == "_holdfast" ]]; then
    _holdfast "$@"
else
    compdef _holdfast holdfast
fi
`

const fishScript = `# fish completion for holdfast
# use:  holdfast completion fish | source

function __holdfast_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] "$word" 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path "$word"
        else
            echo $line
        end
    end
end
complete -c holdfast -f -a '(__holdfast_complete)'
`
