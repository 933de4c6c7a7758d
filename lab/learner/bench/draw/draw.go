// Package draw draws the pictures of a report and of a comparison as SVG.
//
// A picture is 700 pixels wide, and 1 point of gonum/plot is 1 pixel in it. It has a white ground of its own, so that
// it can be read on a dark page. Lines have labels beside them instead of a legend. The colours are those of
// Okabe and Ito, which people with any kind of colour blindness can tell apart, and lines also differ in their dashes.
package draw

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strings"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"fourways.example/lab/learner/bench/result"
)

// width is the width of all pictures, in pixels.
const width = 700

// A style is how a server looks in all pictures.
type style struct {
	color  color.Color
	dashes []vg.Length
	glyph  draw.GlyphDrawer
	bold   bool
}

// styles are the styles by the name of the server. Stages have solid lines, peers have dashed ones.
var styles = map[string]style{
	"stage1":       {rgb(0xCC79A7), nil, draw.CircleGlyph{}, false},
	"stage2":       {rgb(0xE69F00), nil, draw.BoxGlyph{}, false},
	"stage3":       {rgb(0x56B4E9), nil, draw.PyramidGlyph{}, false},
	"stage4":       {rgb(0x0072B2), nil, draw.CircleGlyph{}, true},
	"stage4-defer": {rgb(0x0072B2), []vg.Length{2, 2}, draw.CircleGlyph{}, false},
	"nethttp":      {rgb(0x009E73), []vg.Length{6, 3}, draw.BoxGlyph{}, false},
	"fasthttp":     {rgb(0x6A3D9A), []vg.Length{6, 3}, draw.PyramidGlyph{}, false},
	"nginx":        {rgb(0xD55E00), []vg.Length{6, 3}, draw.CircleGlyph{}, false},
	"nginx-copy":   {rgb(0xF0A070), []vg.Length{2, 2}, draw.CircleGlyph{}, false},
	"h2o":          {rgb(0x777777), []vg.Length{6, 3}, draw.BoxGlyph{}, false},
	"floor":        {rgb(0x000000), []vg.Length{2, 3}, draw.CircleGlyph{}, false},
}

func styleOf(server string) style {
	if s, ok := styles[server]; ok {
		return s
	}
	return style{color: color.Black, glyph: draw.CircleGlyph{}}
}

func rgb(c uint32) color.Color { return color.RGBA{uint8(c >> 16), uint8(c >> 8), uint8(c), 255} }

// dark makes a colour dark enough for text on white.
func dark(c color.Color) color.Color {
	r, g, b, _ := c.RGBA()
	f := func(x uint32) uint8 { return uint8(x >> 8 * 7 / 10) }
	return color.RGBA{f(r), f(g), f(b), 255}
}

var (
	ink  = rgb(0x222222)
	grey = rgb(0x666666)
	pale = rgb(0xDDDDDD)
)

// textStyle is a text in pixels.
func textStyle(size float64, c color.Color, bold bool) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Length(size)}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return text.Style{Color: c, Font: f, Handler: plot.DefaultTextHandler, XAlign: text.XLeft, YAlign: text.YCenter}
}

// A canvas is a picture that is being drawn. The origin is at the bottom on the left.
type canvas struct {
	draw.Canvas
	svg    *vgsvg.Canvas
	title  string
	height int
}

// newCanvas makes a picture with a title and a caption. It returns the picture and the part between the two.
func newCanvas(height int, title, caption string) (*canvas, draw.Canvas) {
	svg := vgsvg.New(width, vg.Length(height))
	c := &canvas{draw.New(svg), svg, title, height}
	c.FillText(textStyle(16, ink, true), vg.Point{X: 16, Y: vg.Length(height - 22)}, title)
	lines := wrap(caption, 110)
	for i, line := range lines {
		c.FillText(textStyle(11, grey, false), vg.Point{X: 16, Y: vg.Length(14 + 14*(len(lines)-1-i))}, line)
	}
	return c, draw.Crop(c.Canvas, 16, -16, vg.Length(20+14*len(lines)), -42)
}

// wrap breaks a text into lines of at most n characters.
func wrap(s string, n int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > n {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

// write writes the picture to a file.
func (c *canvas) write(path string) error {
	var b bytes.Buffer
	if _, err := c.svg.WriteTo(&b); err != nil {
		return err
	}
	s := b.String()
	_, body, ok := strings.Cut(s, `xmlns:xlink="http://www.w3.org/1999/xlink">`)
	if !ok {
		return fmt.Errorf("%s: gonum/plot writes another SVG header than this package expects", path)
	}
	// A browser has another font if Liberation Sans is not installed.
	body = strings.ReplaceAll(body, "font-family:Liberation Sans;", "font-family:Liberation Sans,Arimo,Helvetica,Arial,sans-serif;")
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">
<title>%s</title>
<rect width="%d" height="%d" rx="8" fill="#ffffff"/>`, width, c.height, width, c.height, escape(c.title), width, c.height)
	return os.WriteFile(path, []byte(head+body), 0o644)
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// caption describes the machine.
func caption(m result.Machine, more string) string {
	return fmt.Sprintf("%s Machine: %s, %d CPUs, %s, %s; clients and servers share it.", more, m.CPU, m.CPUs, m.Kernel, m.Go)
}

// Report draws all pictures for which the report has figures, and returns what the page says about them.
func Report(r *result.Report, dir string) ([]result.Picture, error) {
	var all []result.Picture
	for _, p := range []struct {
		file string
		draw func(r *result.Report) (*canvas, string)
	}{
		{"throughput.svg", throughput},
		{"latency.svg", latency},
		{"percentiles.svg", percentiles},
		{"cpu.svg", cpu},
		{"memory.svg", memory},
		{"stall.svg", stall},
	} {
		c, about := p.draw(r)
		if c == nil {
			_ = os.Remove(filepath.Join(dir, p.file)) // it would show other figures than the page
			continue
		}
		if err := c.write(filepath.Join(dir, p.file)); err != nil {
			return nil, err
		}
		all = append(all, result.Picture{File: p.file, Title: c.title, Text: about})
	}
	return all, nil
}
