package draw

import (
	"image/color"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A bar is a horizontal bar with a text at its end.
type bar struct {
	label       string
	color       color.Color
	value       float64
	low, high   float64 // the quartiles; 0 for none
	text        string  // "" draws nothing but the label
	highlighted bool
}

// barHeight is the distance of two bars in pixels.
const barHeight = 15

// bars draws a panel: a heading, and bars from the top down. most is the value of the longest possible bar.
func bars(c draw.Canvas, heading string, all []bar, most float64, labels vg.Length) {
	y := c.Max.Y - 8
	c.FillText(textStyle(12, ink, true), vg.Point{X: c.Min.X, Y: y}, heading)
	left := c.Min.X + labels
	var text vg.Length
	for _, b := range all {
		text = max(text, textStyle(11, ink, b.highlighted).Width(b.text)+8)
	}
	room := c.Max.X - left - text
	for i, b := range all {
		y := y - vg.Length(i+1)*barHeight - 2
		if labels > 0 {
			s := textStyle(11, ink, b.highlighted)
			s.XAlign = draw.XRight
			c.FillText(s, vg.Point{X: left - 12, Y: y}, b.label) // a wider font than Liberation Sans must fit too
		}
		end := left
		if most > 0 {
			at := func(v float64) vg.Length { return left + room*vg.Length(min(v/most, 1)) }
			end = at(b.value)
			c.FillPolygon(b.color, []vg.Point{{X: left, Y: y - 5}, {X: end, Y: y - 5}, {X: end, Y: y + 5}, {X: left, Y: y + 5}})
			if b.high > b.low && b.low > 0 {
				c.StrokeLine2(draw.LineStyle{Color: ink, Width: 1}, at(b.low), y, at(b.high), y)
				c.StrokeLine2(draw.LineStyle{Color: ink, Width: 1}, at(b.low), y-3, at(b.low), y+3)
				c.StrokeLine2(draw.LineStyle{Color: ink, Width: 1}, at(b.high), y-3, at(b.high), y+3)
				end = max(end, at(b.high))
			}
		}
		c.FillText(textStyle(11, ink, b.highlighted), vg.Point{X: end + 5, Y: y}, b.text)
	}
	c.StrokeLine2(draw.LineStyle{Color: grey, Width: 1}, left, y-8, left, y-vg.Length(len(all))*barHeight-9)
}
