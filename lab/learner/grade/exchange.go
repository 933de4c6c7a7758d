package grade

import (
	"regexp"
	"strings"
)

// An exchange is what a client sent, expected and saw, in words.
type exchange struct {
	sent           string
	step           string // of a scenario, instead of sent
	expected, seen string
}

var (
	wantMark = regexp.MustCompile(`(?s)^(.*?),? want (?:at most )?(.*)$`)
	stepLine = regexp.MustCompile(`^ *\d+\. ([^:]*)(?:: (.*))?   <-- here$`)
	stagesOf = regexp.MustCompile(`^\*\(.*?\)\* | \(Stages? [^)]*\)$`)
	address  = regexp.MustCompile(`(?:read|write) tcp[46]? \S+->\S+ `)
)

// exchangeOf finds the first exchange that failed in the log of an entry.
func exchangeOf(e *entry) exchange {
	var x exchange
	if strings.HasPrefix(e.Name, "pitfall/") {
		x = stepOf(e.Log)
	} else {
		x = messageOf(e.Log)
	}
	if x.expected == "" && len(e.ids) > 0 {
		_, claim, _ := strings.Cut(e.Claims[0], ": ")
		x.expected = strings.ReplaceAll(stagesOf.ReplaceAllString(claim, ""), "`", "")
	}
	if e.Crash != "" {
		first, rest, _ := strings.Cut(e.Crash, "\n")
		x.seen = "the server ended: " + first
		if line := firstLine(rest); line != "" {
			x.seen += `, after writing "` + line + `"`
		}
	}
	return x
}

// firstLine returns the first line of output that says something.
func firstLine(output string) string {
	for line := range strings.Lines(output) {
		if line = strings.Trim(line, "\t|\n "); line != "" {
			return line
		}
	}
	return ""
}

// messageOf reads the first message of a case: a line, and further lines that begin with a tab.
func messageOf(log string) (x exchange) {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	message := lines[0]
	got := ""
	for _, line := range lines[1:] {
		if !strings.HasPrefix(line, "\t") {
			break
		}
		line = strings.TrimSpace(line)
		if sent, ok := strings.CutPrefix(line, "sent: "); ok {
			x.sent = sent
		} else if g, ok := strings.CutPrefix(line, "got:"); ok {
			got = strings.TrimSpace(g)
		} else {
			message += " " + line
		}
	}
	x.seen = message
	if m := wantMark.FindStringSubmatch(message); m != nil {
		x.seen, x.expected = m[1], m[2]
	}
	if got != "" {
		if i := strings.LastIndex(x.seen, "answered "); i >= 0 {
			x.seen = x.seen[:i] + "answered " + got
		} else {
			x.seen += "; the answer was " + got
		}
	}
	x.seen = plain(x.seen)
	return x
}

// stepOf reads the step of a scenario that shows the bug.
func stepOf(log string) (x exchange) {
	for line := range strings.Lines(log) {
		line = strings.TrimRight(line, "\n")
		if m := stepLine.FindStringSubmatch(line); m != nil {
			x.step, x.seen = m[1], m[2]
		}
		if want, ok := strings.CutPrefix(line, "want: "); ok {
			x.expected = strings.ReplaceAll(want, "-", " ")
		}
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if x.step == "" && len(lines) > 1 { // the scenario failed in another way
		x = messageOf(strings.Join(lines[1:], "\n"))
		return x
	}
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "want: ") && !strings.HasPrefix(last, " ") {
		x.seen = strings.TrimPrefix(x.seen+"; "+last, "; ")
	}
	x.seen = plain(x.seen)
	return x
}

// plain says in words what an error of a system call means.
func plain(text string) string {
	text = strings.Replace(address.ReplaceAllString(text, ""), `response: "" is no status line`, "an empty line where the next answer should begin", 1)
	for _, w := range []struct{ end, words string }{
		{"unexpected EOF", "the server closed the connection in the middle of its answer (EOF)"},
		{"EOF", "the server closed the connection, with no further answer (EOF)"},
		{"i/o timeout", "nothing more came within the time limit"},
		{"connection reset by peer", "the connection was reset, so the client lost the answer"},
		{"connection refused", "nobody listens on the port any more (connection refused)"},
	} {
		if rest, ok := strings.CutSuffix(strings.TrimSpace(text), w.end); ok && !strings.HasSuffix(rest, "unexpected ") {
			return strings.TrimSuffix(rest, "read: ") + w.words
		}
	}
	return text
}
