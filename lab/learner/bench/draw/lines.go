package draw

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A line is a series with a label beside its last point.
type line struct {
	label  string
	style  style
	points plotter.XYs
	hollow []bool // points that need an explanation
}

// A chart is a plot of lines.
type chart struct {
	title        string
	xName, yName string
	lines        []line
	logX, logY   bool
	xTicks       []plot.Tick
	yTicks       func(low, high float64) []plot.Tick
}

// labelWidth is the room for labels on the right, in pixels.
const labelWidth = 130

// draw draws the chart.
func (ch *chart) draw(c draw.Canvas) {
	p := plot.New()
	p.Title.Text = ch.title
	p.Title.TextStyle = textStyle(13, ink, true)
	p.Title.TextStyle.XAlign = draw.XCenter
	p.BackgroundColor = color.Transparent
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle = textStyle(12, ink, false)
		axis.Tick.Label = textStyle(11, ink, false)
		axis.Color, axis.Tick.Color = grey, grey
	}
	p.X.Label.Text, p.Y.Label.Text = ch.xName, ch.yName
	p.X.Label.TextStyle.XAlign, p.X.Label.TextStyle.YAlign = draw.XCenter, draw.YBottom
	p.Y.Label.TextStyle.XAlign, p.Y.Label.TextStyle.YAlign = draw.XCenter, draw.YBottom
	p.X.Label.Padding, p.Y.Label.Padding = 6, 4
	p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = draw.XCenter, draw.YTop
	p.Y.Tick.Label.XAlign, p.Y.Tick.Label.YAlign = draw.XRight, draw.YCenter
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = pale, pale
	p.Add(grid)
	for _, l := range ch.lines {
		p.Add(l)
		xmin, xmax, ymin, ymax := plotter.XYRange(l.points)
		p.X.Min, p.X.Max = min(p.X.Min, xmin), max(p.X.Max, xmax)
		p.Y.Min, p.Y.Max = min(p.Y.Min, ymin), max(p.Y.Max, ymax)
	}
	if ch.logX {
		p.X.Scale = plot.LogScale{}
	} else {
		p.X.Min = 0
	}
	p.X.Tick.Marker = plot.ConstantTicks(ch.xTicks)
	if ch.logY {
		p.Y.Scale = plot.LogScale{}
		p.Y.Min, p.Y.Max = math.Pow(10, math.Floor(math.Log10(p.Y.Min))), p.Y.Max*1.2
	} else {
		p.Y.Min, p.Y.Max = 0, p.Y.Max*1.05
	}
	p.Y.Tick.Marker = plot.ConstantTicks(ch.yTicks(p.Y.Min, p.Y.Max))
	left := draw.Crop(c, 0, -labelWidth, 0, 0)
	left = draw.Crop(left, 8, 0, 0, -8)
	p.Draw(left)
	ch.labels(c, p, p.DataCanvas(left))
}

// Plot draws the line. It is a method of plot.Plotter.
func (l line) Plot(c draw.Canvas, p *plot.Plot) {
	if len(l.points) == 0 {
		return
	}
	x, y := p.Transforms(&c)
	var at []vg.Point
	for _, pt := range l.points {
		at = append(at, vg.Point{X: x(pt.X), Y: y(pt.Y)})
	}
	w := vg.Length(1.5)
	if l.style.bold {
		w = 3
	}
	c.StrokeLines(draw.LineStyle{Color: l.style.color, Width: w, Dashes: l.style.dashes}, at)
	for i, pt := range at {
		if len(at) > 15 {
			break // a curve, not measured points
		}
		c.DrawGlyph(draw.GlyphStyle{Color: l.style.color, Radius: 3, Shape: l.style.glyph}, pt)
		if l.hollow != nil && l.hollow[i] {
			c.DrawGlyph(draw.GlyphStyle{Color: color.White, Radius: 1.8, Shape: draw.CircleGlyph{}}, pt)
		}
	}
}

// DataRange is a method of plot.DataRanger.
func (l line) DataRange() (xmin, xmax, ymin, ymax float64) { return plotter.XYRange(l.points) }

// labels writes the labels beside the last points, and moves them apart.
func (ch *chart) labels(c draw.Canvas, p *plot.Plot, data draw.Canvas) {
	const height = 14
	type label struct {
		line line
		end  vg.Point
		y    vg.Length
	}
	x, y := p.Transforms(&data)
	var all []label
	for _, l := range ch.lines {
		if len(l.points) > 0 {
			last := l.points[len(l.points)-1]
			end := vg.Point{X: x(last.X), Y: y(last.Y)}
			all = append(all, label{l, end, end.Y})
		}
	}
	slices.SortFunc(all, func(a, b label) int { return int(math.Copysign(1, float64(a.y-b.y))) })
	for i := 1; i < len(all); i++ { // up from the lowest
		all[i].y = max(all[i].y, all[i-1].y+height)
	}
	for i := len(all) - 1; i >= 0; i-- { // and down again from the upper border
		top := data.Max.Y
		if i < len(all)-1 {
			top = all[i+1].y - height
		}
		all[i].y = min(all[i].y, top)
	}
	for _, l := range all {
		from := vg.Point{X: l.end.X + 5, Y: l.end.Y}
		to := vg.Point{X: data.Max.X + 22, Y: l.y}
		c.StrokeLine2(draw.LineStyle{Color: l.line.style.color, Width: 0.7}, from.X, from.Y, to.X, to.Y)
		c.FillText(textStyle(12, dark(l.line.style.color), l.line.style.bold), vg.Point{X: to.X + 4, Y: to.Y}, l.line.label)
	}
}
