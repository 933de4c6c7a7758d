package site

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

const committed = "../../../../" + Folder

// TestPages checks every committed page: the HTML is well formed, ids occur once, links lead somewhere, no request
// goes to another host, and there is one h1.
func TestPages(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(committed, "*.html"))
	if err != nil || len(names) < 10 {
		t.Fatalf("%d pages: %v", len(names), err)
	}
	pages := map[string]*document{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d := check(string(text))
		pages[filepath.Base(name)] = d
		for _, s := range append(d.bad, mended(string(text))...) {
			t.Errorf("%s: %s", filepath.Base(name), s)
		}
	}
	for name, d := range pages {
		for _, target := range d.targets {
			file, fragment, _ := strings.Cut(target, "#")
			if file == "" {
				file = name
			}
			if other := pages[file]; other != nil {
				if fragment != "" && !other.ids[fragment] {
					t.Errorf("%s: a link to %s, which has no such id", name, target)
				}
			} else if _, err := os.Stat(filepath.Join(committed, file)); err != nil {
				t.Errorf("%s: a link to %s: %v", name, target, err)
			}
		}
	}
}

// A document is what check finds in a page.
type document struct {
	ids     map[string]bool
	targets []string // of links, pictures, styles and scripts in the book
	bad     []string
}

var void = map[string]bool{"meta": true, "link": true, "img": true, "input": true, "br": true, "hr": true}

// phrasing holds the elements that may not contain a block.
var phrasing = map[string]bool{"p": true, "h1": true, "h2": true, "h3": true, "h4": true, "span": true, "code": true, "pre": true, "a": true, "em": true, "strong": true}

var block = map[string]bool{
	"p": true, "h1": true, "h2": true, "h3": true, "h4": true, "pre": true, "ul": true, "ol": true, "li": true, "table": true,
	"div": true, "section": true, "figure": true, "nav": true, "main": true, "article": true, "header": true, "blockquote": true,
}

// check reads a page strictly: what a browser would mend is an error.
func check(text string) *document {
	d := &document{ids: map[string]bool{}}
	say := func(format string, args ...any) { d.bad = append(d.bad, fmt.Sprintf(format, args...)) }
	if !strings.HasPrefix(text, "<!doctype html>\n") {
		say("no doctype")
	}
	var open []string
	headings := 0
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			for _, name := range open {
				say("<%s> is not closed", name)
			}
			if headings != 1 {
				say("%d h1, want 1", headings)
			}
			return d
		case html.StartTagToken, html.SelfClosingTagToken:
			tok := z.Token()
			inSVG := false
			for _, name := range open {
				inSVG = inSVG || name == "svg"
				if phrasing[name] && block[tok.Data] {
					say("<%s> inside <%s>", tok.Data, name)
				}
				if name == "a" && tok.Data == "a" {
					say("a link inside a link")
				}
			}
			if tok.Data == "h1" {
				headings++
			}
			if tok.Data == "li" && (len(open) == 0 || open[len(open)-1] != "ul" && open[len(open)-1] != "ol") {
				say("<li> outside a list")
			}
			d.attributes(tok, say)
			if kind == html.SelfClosingTagToken && !inSVG {
				say("<%s/> is not HTML", tok.Data)
			}
			if kind == html.StartTagToken && !void[tok.Data] {
				open = append(open, tok.Data)
			}
		case html.EndTagToken:
			name := z.Token().Data
			if len(open) == 0 || open[len(open)-1] != name {
				say("</%s> closes %q", name, open)
				return d
			}
			open = open[:len(open)-1]
		}
	}
}

func (d *document) attributes(tok html.Token, say func(string, ...any)) {
	seen := map[string]string{}
	for _, a := range tok.Attr {
		if _, twice := seen[a.Key]; twice {
			say("<%s> has %s twice", tok.Data, a.Key)
		}
		seen[a.Key] = a.Val
	}
	if id, ok := seen["id"]; ok {
		if d.ids[id] || id == "" || strings.Contains(id, " ") {
			say("id %q is not unique", id)
		}
		d.ids[id] = true
	}
	if tok.Data == "img" && (seen["alt"] == "" || seen["width"] == "" || seen["height"] == "") {
		say("the picture %s needs alt, width and height", seen["src"])
	}
	for _, key := range []string{"href", "src"} {
		target, ok := seen[key]
		if !ok || tok.Data == "use" {
			continue
		}
		if strings.Contains(target, "//") {
			if tok.Data != "a" {
				say("<%s> makes a request to %s", tok.Data, target)
			}
			continue
		}
		d.targets = append(d.targets, target)
	}
	if strings.Contains(seen["style"], "url(") {
		say("a style with url()")
	}
}

// TestCheck checks that check finds what it looks for.
func TestCheck(t *testing.T) {
	frame := func(s string) string {
		return "<!doctype html>\n<html><body><h1 id=\"t\">T</h1>" + s + "</body></html>"
	}
	for text, want := range map[string]string{
		frame(""):                              "",
		frame("<p>a<br>b</p>"):                 "",
		frame("<p><b>x</p></b>"):               "</p> closes",
		frame("<p><div>x</div></p>"):           "<div> inside <p>",
		frame("<p>x"):                          "</body> closes",
		frame("<p id=\"t\">x</p>"):             `id "t" is not unique`,
		frame("<li>x</li>"):                    "<li> outside a list",
		frame("<img src=\"x.svg\" alt=\"a\">"): "needs alt, width and height",
		frame("<script src=\"https://a.example/x.js\"></script>"): "makes a request to https://a.example/x.js",
		frame("<a href=\"https://a.example/\">x</a>"):             "",
		frame("<a href=\"x\"><a href=\"y\">x</a></a>"):            "a link inside a link",
		"<html></html>":                  "no doctype",
		"<!doctype html>\n<html></html>": "0 h1",
	} {
		got := strings.Join(check(text).bad, "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestAssets checks that neither the style sheet nor the script asks another host.
func TestAssets(t *testing.T) {
	for _, name := range []string{"book.css", "book.js"} {
		text, err := assets.ReadFile(path.Join("assets", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, forbidden := range []string{"//fonts", "http:", "https:", "url(", "@import", "fetch(", "eval("} {
			if strings.Contains(string(text), forbidden) {
				t.Errorf("%s contains %q", name, forbidden)
			}
		}
	}
}

// TestContrast computes the contrast of each colour of text with the backgrounds that it stands on. WCAG 2.1 wants
// 4.5 (AA).
func TestContrast(t *testing.T) {
	css, err := assets.ReadFile("assets/book.css")
	if err != nil {
		t.Fatal(err)
	}
	themes := regexp.MustCompile(`(?s):root \{(.*?)\n *\}`).FindAllStringSubmatch(string(css), -1)
	if len(themes) != 3 {
		t.Fatalf("%d sets of colours, want light, dark and print", len(themes))
	}
	for i, theme := range []string{"light", "dark", "print"} {
		colours := map[string]string{}
		for _, m := range regexp.MustCompile(`--([\w-]+): (#[0-9a-f]{3,6});`).FindAllStringSubmatch(themes[i][1], -1) {
			colours[m[1]] = m[2]
		}
		for _, pair := range []string{
			"text page", "text soft-page", "soft page", "soft soft-page", "on page", "on soft-page", "text mark",
			"comment soft-page", "keyword soft-page", "string soft-page", "number soft-page", "name soft-page",
			"gone gone-page", "new new-page", "gone soft-page", "new soft-page",
		} {
			a, b, _ := strings.Cut(pair, " ")
			if theme == "print" && b == "mark" {
				continue // there is no search on paper
			}
			ratio, err := contrast(colours[a], colours[b])
			if err != nil {
				t.Errorf("%s: %s: %v", theme, pair, err)
			} else if ratio < 4.5 {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want 4.5", theme, a, b, ratio)
			}
		}
	}
	if ratio, err := contrast("#777", "#fff"); err != nil || ratio < 4.47 || ratio > 4.49 {
		t.Errorf("#777 on white: %.3f, %v; want 4.48", ratio, err)
	}
}
