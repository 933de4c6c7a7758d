package draw

import (
	"fmt"
	"strings"
)

// A canvas collects the elements of an SVG picture.
type canvas struct{ strings.Builder }

// palette are the colours of Okabe and Ito, which people with any kind of colour blindness can tell apart, and nightly
// are those that are used on dark pages.
var (
	palette = []string{"#E69F00", "#CC79A7", "#0072B2", "#009E73", "#D55E00", "#56B4E9"}
	nightly = []string{"#E69F00", "#CC79A7", "#3A97DB", "#1DB88D", "#E8702A", "#7CC8F2"}
)

// other is the index of the colour of calls that are about no client.
var other = len(palette)

// head writes what stands before the elements: the style for light and for dark pages, and the hatchings.
func head(height float64, title, desc string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="trace" width="%d" height="%.0f" viewBox="0 0 %d %.0f" role="img" aria-labelledby="trace-title trace-desc">
<title id="trace-title">%s</title>
<desc id="trace-desc">%s</desc>
<style>
.trace { --ground: #ffffff; --ink: #1f2328; --grey: #59636e; --line: #d1d9e0; --c%d: #8c959f; %s font-family: "Liberation Sans", Arial, Helvetica, sans-serif; }
@media (prefers-color-scheme: dark) { .trace { --ground: #0d1117; --ink: #f0f6fc; --grey: #9198a1; --line: #3d444d; --c%d: #7d8590; %s } }
.trace text { fill: var(--ink); font-size: 11px; }
.trace .big { font-size: 17px; font-weight: bold; }
.trace .head { font-size: 13px; font-weight: bold; }
.trace .grey { fill: var(--grey); }
.trace .over { paint-order: stroke; stroke: var(--ground); stroke-width: 3px; stroke-linejoin: round; }
.trace .ground { fill: var(--ground); }
.trace .line { stroke: var(--line); stroke-width: 1; }
.trace .cut { stroke: var(--grey); stroke-width: 1; stroke-dasharray: 2 3; }
.trace .ink { fill: var(--ink); }
`, width, height, width, height, escape(title), escape(desc), other, variables(palette), other, variables(nightly))
	for i := range len(palette) + 1 {
		fmt.Fprintf(&b, ".trace .c%d { fill: var(--c%d); }\n.trace .w%d { fill: url(#trace-w%d); stroke: var(--c%d); stroke-width: 0.8; }\n", i, i, i, i, i)
	}
	b.WriteString("</style>\n<defs>\n")
	for i := range len(palette) + 1 {
		fmt.Fprintf(&b, `<pattern id="trace-w%d" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="ground" width="6" height="6"/><rect class="c%d" width="6" height="6" opacity="0.14"/><rect class="c%d" width="1.6" height="6" opacity="0.4"/></pattern>`+"\n", i, i, i)
	}
	b.WriteString("</defs>\n")
	fmt.Fprintf(&b, `<rect class="ground" width="%d" height="%.0f" rx="6"/>`+"\n", width, height)
	return b.String()
}

// variables sets the variables of the colours.
func variables(colours []string) string {
	var b strings.Builder
	for i, c := range colours {
		fmt.Fprintf(&b, "--c%d: %s; ", i, c)
	}
	return strings.TrimSpace(b.String())
}

// text writes a text at its left end.
func (c *canvas) text(x, y float64, class, s string) {
	fmt.Fprintf(c, `<text x="%.1f" y="%.1f"%s>%s</text>`+"\n", x, y, attr(class), escape(s))
}

// textAt writes a text whose middle or end is at x.
func (c *canvas) textAt(x, y float64, anchor, class, s string) {
	fmt.Fprintf(c, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, attr(class), escape(s))
}

// rect writes a rectangle. A reader sees the tip when the pointer is on it.
func (c *canvas) rect(x, y, w, h float64, class, tip string) {
	fmt.Fprintf(c, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f"%s`, x, y, w, h, attr(class))
	if tip == "" {
		c.WriteString("/>\n")
		return
	}
	fmt.Fprintf(c, "><title>%s</title></rect>\n", escape(tip))
}

func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(c, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"%s/>`+"\n", x1, y1, x2, y2, attr(class))
}

func attr(class string) string {
	if class == "" {
		return ""
	}
	return ` class="` + class + `"`
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// escape escapes a text for XML. Characters that XML does not allow become "?".
func escape(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0xFFFE || r == 0xFFFF {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return escaper.Replace(s)
}

// textWidth estimates the width of a text of the given size in pixels, rather too wide than too narrow: the reader's
// machine may have a wider font than Liberation Sans.
func textWidth(s string, size float64) float64 {
	w := 0.0
	for _, r := range s {
		switch {
		case strings.ContainsRune("ijlI.,:;'|!() ft[]-", r):
			w += 0.33
		case strings.ContainsRune("mwMW—", r):
			w += 0.9
		case r >= 'A' && r <= 'Z':
			w += 0.72
		default:
			w += 0.57
		}
	}
	return w * size * 1.06
}

// fold breaks a text into lines of at most w pixels.
func fold(s string, w, size float64) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && textWidth(line+" "+word, size) > w {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}
