# Prints the stanzas of a deb822 sources file that name the distribution's main
# archive, with the suite replaced by the variable suite. For fetch.sh.
BEGIN { RS = ""; FS = "\n" }
{
	out = ""; deb = main = release = 0; enabled = 1; field = ""
	for (i = 1; i <= NF; i++) {
		if ($i ~ /^#/) continue
		if ($i !~ /^[ \t]/) { # not a continuation of the field before
			field = tolower($i); sub(/:.*/, "", field)
		}
		value = tolower($i); sub(/^[a-z-]+:/, "", value)
		n = split(value, words, /[ \t]+/)
		for (w = 1; w <= n; w++) {
			if (field == "types" && words[w] == "deb") deb = 1
			if (field == "components" && words[w] == "main") main = 1
			# A release is one word; NAME-updates and NAME-security are its annexes.
			if (field == "suites" && words[w] ~ /^[a-z]+$/) release = 1
			if (field == "enabled" && words[w] ~ /^(no|false|0)$/) enabled = 0
		}
		if (field != "suites" && field != "types") out = out $i "\n"
	}
	if (deb && main && release && enabled)
		printf "Types: deb\nSuites: %s\n%s\n", suite, out
}
