package site

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// mended compares the tags of a page with the tree that the algorithm of the HTML standard makes of them. In a valid
// page that does not leave out tags the two are the same. A difference is a place where the algorithm adds, moves or closes an element.
func mended(text string) []string {
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		return []string{err.Error()}
	}
	var built []string
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.ElementNode {
			built = append(built, "<"+strings.ToLower(n.Data)+">")
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
		if n.Type == html.ElementNode && !void[n.Data] {
			built = append(built, "</"+strings.ToLower(n.Data)+">")
		}
	}
	walk(doc)
	written := tags(text)
	for i := range max(len(written), len(built)) {
		if i >= len(written) || i >= len(built) || written[i] != built[i] {
			from, to := max(0, i-3), i+1
			return []string{fmt.Sprintf("a browser mends the page: %s was written, and %s is what it builds",
				strings.Join(written[min(from, len(written)):min(to, len(written))], ""), strings.Join(built[min(from, len(built)):min(to, len(built))], ""))}
		}
	}
	return nil
}

// tags returns the tags of a text in order. A tag <x/>, which SVG has, is two.
func tags(text string) (all []string) {
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		kind := z.Next()
		name, _ := z.TagName()
		switch kind {
		case html.ErrorToken:
			return all
		case html.StartTagToken:
			all = append(all, "<"+string(name)+">")
		case html.EndTagToken:
			all = append(all, "</"+string(name)+">")
		case html.SelfClosingTagToken:
			if all = append(all, "<"+string(name)+">"); !void[string(name)] {
				all = append(all, "</"+string(name)+">")
			}
		}
	}
}

// TestMended checks that mended finds what it looks for.
func TestMended(t *testing.T) {
	frame := func(s string) string {
		return "<!doctype html>\n<html><head><title>T</title></head><body>" + s + "</body></html>"
	}
	for text, want := range map[string]string{
		frame(`<p>a<br>b</p><svg viewBox="0 0 1 1"><path d="M0 0"/><linearGradient></linearGradient></svg>`): "",
		frame("<table><tbody><tr><td>x</td></tr></tbody></table>"):                                           "",
		frame("<table><tr><td>x</td></tr></table>"):                                                          "<tbody> is what it builds",
		frame("<table><p>x</p><tbody></tbody></table>"):                                                      "a browser mends",
		frame("<p>x<ul></ul></p>"):                                                                           "a browser mends",
		frame("<button>x<button>y</button></button>"):                                                        "a browser mends",
		"<!doctype html>\n<html><body></body></html>":                                                        "<head> is what it builds",
	} {
		got := strings.Join(mended(text), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestSources compares every committed page of a source file with that file, line by line.
func TestSources(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(committed, "source-*.html"))
	if err != nil || len(names) < 10 {
		t.Fatalf("%d pages of source files: %v", len(names), err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := html.Parse(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		var title string
		var lines, ids []string
		for n := range doc.Descendants() {
			if n.Data == "h1" {
				title = content(n)
			}
			for _, a := range n.Attr {
				if n.Data == "span" && a.Key == "id" {
					lines, ids = append(lines, content(n)), append(ids, a.Val)
				}
			}
		}
		source, err := os.ReadFile(filepath.Join("../../../..", title))
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
			continue
		}
		if got := strings.Join(lines, ""); got != string(source) {
			t.Errorf("%s is not the text of %s", filepath.Base(name), title)
		}
		for i, id := range ids {
			if want := fmt.Sprintf("L%d", i+1); id != want {
				t.Errorf("%s: line %d has the id %s", filepath.Base(name), i+1, id)
				break
			}
		}
	}
}

// content is the text below a node.
func content(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}
