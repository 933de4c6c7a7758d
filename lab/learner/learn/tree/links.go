package tree

import (
	slashpath "path"
	"path/filepath"
	"regexp"
	"strings"
)

// Link matches a link or a picture of Markdown: the mark of a picture, the text, the address, and the anchor.
var Link = regexp.MustCompile(`(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)]*)?\)`)

// LivingLinks returns the text of a page without dead links: a link to a file that the tree does not have becomes its text,
// and such a picture is taken out. page is the page's path from the root on, and so is the argument of has.
func LivingLinks(page, text string, has func(path string) bool) string {
	if filepath.Ext(page) != ".md" {
		return text
	}
	return Link.ReplaceAllStringFunc(text, func(link string) string {
		m := Link.FindStringSubmatch(link)
		if strings.Contains(m[3], "://") || has(slashpath.Join(slashpath.Dir(page), m[3])) {
			return link
		}
		if m[1] != "" {
			return ""
		}
		return m[2]
	})
}
