package learn

import (
	"fmt"
	"strings"
)

// sideBySide returns two texts in two columns. It reports false if a line of the left one does not fit.
func sideBySide(leftTitle, left, rightTitle, right string, width int) (string, bool) {
	column := (width - 3) / 2
	a, b := codeLines(leftTitle, left), codeLines(rightTitle, right)
	var out strings.Builder
	for i := range max(len(a), len(b)) {
		var l, r string
		if i < len(a) {
			l = a[i]
		}
		if i < len(b) {
			r = b[i]
		}
		if len([]rune(l)) > column || len([]rune(r)) > column {
			return "", false
		}
		out.WriteString(strings.TrimRight(fmt.Sprintf("%-*s | %s", column, l, r), " ") + "\n")
	}
	return out.String(), true
}

func codeLines(title, code string) []string {
	return append([]string{title, ""}, strings.Split(strings.ReplaceAll(code, "\t", "  "), "\n")...)
}

// broken breaks the lines of code that do not fit, after a space or a comma if there is one. The rest of a line is indented
// further than the line.
func broken(code string, width int) string {
	var out []string
	for line := range strings.SplitSeq(strings.ReplaceAll(code, "\t", "    "), "\n") {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))] + "        "
		if len(indent) > width/2 {
			indent = ""
		}
		for r := []rune(line); len(r) > width; r = []rune(line) {
			at := width
			for at > len(indent)+1 && r[at-1] != ' ' && r[at-1] != ',' {
				at--
			}
			if at == len(indent)+1 {
				at = width
			}
			out = append(out, strings.TrimRight(string(r[:at]), " "))
			line = indent + strings.TrimLeft(string(r[at:]), " ")
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}
