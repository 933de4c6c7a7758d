package learn

import (
	"regexp"
	"strings"
)

// shown is how many lines of a failed check are shown: with the rest, they fit on a screen of 24 lines.
const shown = 12

var (
	noise    = regexp.MustCompile(`^(FAIL|ok|---? ?skipped|exit status \d+|\S+: (cases|pitfalls|trials) …|PASS|=== .*)(\s.*)?$`)
	panicked = regexp.MustCompile(`^\s*panic: (.*?)( \[recovered.*)?$`)
	place    = regexp.MustCompile(`^\s*(\S+\.go:\d+)( \+0x[0-9a-f]+)?$`)
)

// tail returns the last lines of the output of go test that say why it failed. Of a panic it shows the message and
// the places in the working copy: the stack also names functions of the tests and of the runtime.
func tail(output, dir string, width int) []string {
	var lines []string
	inStack := false
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\n ")
		if m := panicked.FindStringSubmatch(line); m != nil {
			inStack = true
			lines = append(lines, "panic: "+m[1])
			continue
		}
		if inStack {
			// After the stack of the panic, there may be others: one message is enough.
			if m := place.FindStringSubmatch(line); m != nil && strings.HasPrefix(m[1], dir) && !strings.Contains(m[1], "_test.go") {
				lines = append(lines, "  at "+short(m[1], dir))
			}
			if line == "FAIL" || strings.HasPrefix(strings.TrimSpace(line), "--- FAIL") {
				inStack = false
			}
			continue
		}
		if line = short(line, dir); strings.TrimSpace(line) == "" || noise.MatchString(line) {
			continue
		}
		lines = append(lines, line)
	}
	lines = once(lines)
	lines = lines[max(0, len(lines)-shown):]
	for i, l := range lines {
		l = strings.ReplaceAll(l, "\t", "  ")
		if r := []rune(l); len(r) > width {
			l = string(r[:width-1]) + "…"
		}
		lines[i] = l
	}
	return lines
}

// once leaves out lines that are repeated: many cases may fail with the same panic.
func once(lines []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, l := range lines {
		if !seen[l] {
			out = append(out, l)
		}
		seen[l] = true
	}
	return out
}
