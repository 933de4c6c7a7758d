package grade

import (
	"bufio"
	_ "embed" // hints.txt
	"path"
	"regexp"
	"slices"
	"strings"
)

//go:embed hints.txt
var hintsText string

// A hint is the usual cause of a failure.
type hint struct {
	patterns []string       // match the names of claims
	log      *regexp.Regexp // matches the log of the failure; nil matches any log
	text     string
}

// hints are the hints of hints.txt, in its order. The first one that matches is used.
var hints = parseHints(hintsText)

// parseHints reads paragraphs: a line of patterns, an optional line /regexp/, and the text.
func parseHints(text string) []hint {
	var all []hint
	var h hint
	flush := func() {
		if h.text != "" {
			all = append(all, h)
		}
		h = hint{}
	}
	scan := bufio.NewScanner(strings.NewReader(text))
	for scan.Scan() {
		line := strings.TrimSpace(scan.Text())
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			flush()
		case h.patterns == nil:
			h.patterns = strings.Fields(line)
		case h.text == "" && h.log == nil && len(line) > 1 && line[0] == '/' && line[len(line)-1] == '/':
			h.log = regexp.MustCompile(line[1 : len(line)-1])
		default:
			h.text = strings.TrimSpace(h.text + " " + line)
		}
	}
	flush()
	return all
}

// hintFor returns the first hint for a failure of these claims with this log, or "" if there is none.
func hintFor(subjects []string, log string) string {
	for _, h := range hints {
		if h.log != nil && !h.log.MatchString(log) {
			continue
		}
		if slices.ContainsFunc(h.patterns, func(p string) bool {
			return slices.ContainsFunc(subjects, func(s string) bool { return hintMatches(p, s) }) || p == "*"
		}) {
			return h.text
		}
	}
	return ""
}

func hintMatches(pattern, subject string) bool {
	ok, err := path.Match(pattern, subject)
	return err == nil && ok
}
