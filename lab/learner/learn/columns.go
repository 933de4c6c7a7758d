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
