package learn

import (
	"regexp"
	"slices"
	"strings"
)

const (
	shown      = 12 // lines of a failed check: with the rest, they fit on a screen of 24 lines
	transcript = 60 // lines if they are a transcript, in which the first lines count as much as the last
)

var (
	noise    = regexp.MustCompile(`^(FAIL|ok|Look at this first:|\S+: \d+ of \d+ .* failed, .*|---? ?skipped|exit status \d+|\S+: (cases|pitfalls|trials) …|PASS|=== .*)(\s.*)?$`)
	panicked = regexp.MustCompile(`^\s*panic: (.*?)( \[recovered.*)?$`)
	running  = regexp.MustCompile(`^\t\t(Test\S+) \(.*\)$`)
	place    = regexp.MustCompile(`^\s*(\S+\.go:\d+)( \+0x[0-9a-f]+)?$`)
)

// tail returns the last lines of the output of go test that say why it failed. Of a panic it shows the message and
// the places in the working copy: the stack also names functions of the tests and of the runtime.
func tail(output, dir string, width, most int) []string {
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
			if m := running.FindStringSubmatch(line); m != nil { // the panic is a time-out, in this test
				if above := lines[len(lines)-1]; strings.HasPrefix("  in "+m[1], above) { // the test has this subtest
					lines = lines[:len(lines)-1]
				}
				lines = append(lines, "  in "+m[1])
			}
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
	return screen(once(lines), width, most)
}

// screen returns the last lines, at most so many, broken to fit. If their test is named before them, its line comes first.
func screen(lines []string, width, most int) []string {
	var out, header []string
	begins := map[int]bool{} // the rows with which a line begins
	for _, l := range lines {
		begins[len(out)] = true
		rows := rows(strings.ReplaceAll(l, "\t", "  "), width)
		if strings.Contains(l, "--- FAIL: ") {
			header = rows[:1]
		}
		out = append(out, rows...)
	}
	if len(out) <= most {
		return out
	}
	from := len(out) - most
	for from < len(out)-1 && !begins[from] { // the rest of a line means little
		from++
	}
	cut := out[from:]
	if header != nil && !slices.Contains(cut, header[0]) {
		cut[0] = header[0]
	}
	return cut
}

// rows breaks a line into rows that fit, between words if it can.
func rows(line string, width int) []string { return strings.Split(broken(line, width), "\n") }

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
