package ledger

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// An Entry explains a hunk. Text is Markdown and ends with a paragraph "Needed by: …", which names what would
// notice if the hunk were missing.
type Entry struct {
	Key   string
	Title string // as written in the file, for messages
	Text  string
}

// A Page is a ledger file: a few sentences about the whole step, and an entry for each hunk.
type Page struct {
	Intro   string
	Entries []Entry
}

var (
	heading = regexp.MustCompile(`(?m)^## (.*)$`)
	marker  = regexp.MustCompile(`(?s)<!-- hunk ([0-9a-f]{8}) -->\n.*?\n<!-- /hunk -->\n`)
)

// Parse reads a ledger file. It takes only what a person writes; Render makes the headings and the hunks.
func Parse(text string) (*Page, error) {
	page := &Page{}
	heads := heading.FindAllStringSubmatchIndex(text, -1)
	end := len(text)
	if len(heads) > 0 {
		end = heads[0][0]
	}
	_, intro, _ := strings.Cut(text[:end], "\n")
	page.Intro = strings.TrimSpace(intro)
	for i, h := range heads {
		title := text[h[2]:h[3]]
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		body := text[h[1]:end]
		m := marker.FindStringSubmatchIndex(body)
		if m == nil {
			return nil, fmt.Errorf("entry %q has no line <!-- hunk KEY --> with a <!-- /hunk --> after it", title)
		}
		page.Entries = append(page.Entries, Entry{Key: body[m[2]:m[3]], Title: title, Text: strings.TrimSpace(body[m[1]:])})
	}
	return page, nil
}

// Load reads the ledger of a pair. A file that does not exist is an empty ledger.
func Load(repo string, p Pair) (*Page, string, error) {
	text, err := os.ReadFile(filepath.Join(repo, p.File()))
	if os.IsNotExist(err) {
		return &Page{}, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	page, err := Parse(string(text))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", p.File(), err)
	}
	return page, string(text), nil
}

// Match returns the entry of each hunk, nil if there is none, and the entries that belong to no hunk. Two hunks
// with the same changed lines take their entries in order.
func (page *Page) Match(hunks []Hunk) (entries []*Entry, left []*Entry) {
	taken := make([]bool, len(page.Entries))
	for _, h := range hunks {
		var found *Entry
		for i := range page.Entries {
			if !taken[i] && page.Entries[i].Key == h.Key {
				taken[i], found = true, &page.Entries[i]
				break
			}
		}
		entries = append(entries, found)
	}
	for i := range page.Entries {
		if !taken[i] {
			left = append(left, &page.Entries[i])
		}
	}
	return entries, left
}

// Missing stands for an explanation that nobody has written yet. Check refuses it.
const Missing = "TODO: explain this hunk."

// Render writes the ledger for these hunks: a heading, the hunk and its explanation. Explanations of hunks that are
// gone come last, so that nothing is lost; Check refuses them until they are moved to their hunk or removed.
func (page *Page) Render(p Pair, hunks []Hunk) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", p.Title())
	if page.Intro != "" {
		fmt.Fprintf(&b, "\n%s\n", page.Intro)
	}
	entries, left := page.Match(hunks)
	for i, h := range hunks {
		text := Missing
		if entries[i] != nil {
			text = entries[i].Text
		}
		fmt.Fprintf(&b, "\n## %s\n\n<!-- hunk %s -->\n```diff\n%s\n```\n<!-- /hunk -->\n\n%s\n",
			h.title(i), h.Key, strings.Join(h.Lines, "\n"), text)
	}
	for _, e := range left {
		fmt.Fprintf(&b, "\n## %s\n\n<!-- hunk %s -->\n(this hunk is gone)\n<!-- /hunk -->\n\n%s\n", goneTitle(e), e.Key, e.Text)
	}
	return b.String()
}

// title is the heading of the i-th hunk, counted from 0.
func (h *Hunk) title(i int) string { return fmt.Sprintf("%d. %s: %s", i+1, h.File, h.Decl) }

func goneTitle(e *Entry) string { return "Gone: " + strings.TrimPrefix(e.Title, "Gone: ") }
