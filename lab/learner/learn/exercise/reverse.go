package exercise

import (
	"regexp"
	"strings"
)

// hunkHead matches the first line of a hunk: the old and the new range.
var hunkHead = regexp.MustCompile(`^@@ -(\S+) \+(\S+) @@`)

// reverse turns a unified diff round, so that it takes its change back.
func reverse(patch []byte) []byte {
	var out strings.Builder
	var removed, added string // of the change that is being read
	end := func() {
		out.WriteString(removed + added)
		removed, added = "", ""
	}
	for line := range strings.Lines(string(patch)) {
		switch {
		case strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "):
			end()
			out.WriteString(line) // the names of both sides are the same
		case line[0] == '-':
			added += "+" + line[1:]
		case line[0] == '+':
			removed += "-" + line[1:]
		default:
			end()
			out.WriteString(hunkHead.ReplaceAllString(line, "@@ -$2 +$1 @@"))
		}
	}
	end()
	return []byte(out.String())
}
