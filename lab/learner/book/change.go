package book

import (
	"fmt"
	"strings"

	"fourways.example/lab/learner/book/weave"
)

// A Change is a file that is not what the sources say.
type Change struct {
	Name     string   // the path from the root of the repository, with slashes
	Sections []string // of a Markdown file: the sections that differ, each with its line
}

// Stale returns a message for each change. A page follows from its Markdown file, so it has a message of its own only if
// no Markdown file has changed.
func Stale(changed []Change) (messages []string) {
	const mend = "run make book, read the text around what has changed, and commit"
	for _, c := range changed {
		for _, s := range c.Sections {
			messages = append(messages, fmt.Sprintf("%s:%s is not what its sources say: %s", c.Name, s, mend))
		}
	}
	if len(messages) > 0 {
		return messages
	}
	for _, c := range changed {
		messages = append(messages, fmt.Sprintf("%s is not what its sources say: %s", c.Name, mend))
	}
	return messages
}

// sections returns the sections of a Markdown file whose text is new, each as its line and its heading: `12, "Title"`.
func sections(old, text string) (differ []string) {
	had := map[string]bool{}
	for _, s := range split(old) {
		had[s.text] = true
	}
	for _, s := range split(text) {
		if !had[s.text] && !strings.HasPrefix(s.title, "Gone: ") { // the ledger's own heading for a text that has lost its hunk
			differ = append(differ, fmt.Sprintf("%d, section %q,", s.line, s.title))
		}
	}
	return differ
}

// section is a heading with the text below it, up to the next heading of any level.
type section struct {
	line        int
	title, text string
}

func split(text string) []section {
	all := []section{{line: 1}}
	fenced := false
	for n, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if title, ok := weave.Heading(line); ok && !fenced {
			all = append(all, section{line: n + 1, title: title})
		}
		last := &all[len(all)-1]
		last.text += line + "\n"
	}
	return all
}
