package draw

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"fourways.example/lab/learner/bench/result"
)

// sweepLines makes a line for each server of the sweep. skip leaves a point out, and hollow marks it.
func sweepLines(r *result.Report, value func(c *result.Cell) float64, hollow func(c *result.Cell) bool) []line {
	var lines []line
	for _, s := range r.Servers {
		l := line{label: s.Label, style: styleOf(s.Name)}
		cells := slices.Clone(r.Sweep)
		slices.SortFunc(cells, func(a, b *result.Cell) int { return a.Conns - b.Conns })
		for _, c := range cells {
			if v := value(c); c.Server == s.Name && v > 0 {
				l.points = append(l.points, plotter.XY{X: float64(c.Conns), Y: v})
				l.hollow = append(l.hollow, hollow(c))
			}
		}
		if len(l.points) > 0 {
			lines = append(lines, l)
		}
	}
	return lines
}

// powers returns a tick with a label at each power of ten, and also at 2 and 5 if there are few.
func powers(format func(float64) string) func(low, high float64) []plot.Tick {
	return func(low, high float64) []plot.Tick {
		var ticks []plot.Tick
		steps := []float64{1}
		if high < 200*low {
			steps = []float64{1, 2, 5} // fewer than three powers of ten would show no scale
		}
		for x := math.Pow(10, math.Floor(math.Log10(low))); x <= high; x *= 10 {
			for _, step := range steps {
				if v := x * step; v >= low*0.9999 && v <= high*1.0001 {
					ticks = append(ticks, plot.Tick{Value: v, Label: format(v)})
				}
			}
		}
		return ticks
	}
}

// evenly returns about five ticks at round values.
func evenly(format func(float64) string) func(low, high float64) []plot.Tick {
	return func(low, high float64) []plot.Tick {
		step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
		for _, f := range []float64{5, 2} {
			if (high-low)/(step*f) >= 4 {
				step *= f
				break
			}
		}
		var ticks []plot.Tick
		for x := low; x <= high; x += step {
			ticks = append(ticks, plot.Tick{Value: x, Label: format(x)})
		}
		return ticks
	}
}

func connTicks() []plot.Tick { return powers(result.Count)(1, 10_000) }

// unserved reports whether a server has not served all of its connections.
func unserved(c *result.Cell) bool {
	n, counted := c.Served()
	return counted && n < c.Conns*99/100
}

func throughput(r *result.Report) (*canvas, string) {
	lines := sweepLines(r, func(c *result.Cell) float64 { return result.Rate.Summary(c.Throughput()).Median }, unserved)
	if len(lines) == 0 {
		return nil, ""
	}
	const about = "Each client asks for a file of 1 KB again and again. At a point with a white centre, the server has not served all of its connections."
	c, inner := newCanvas(470, "Requests per second against the number of connections", caption(r.Machine, about))
	ch := chart{xName: "connections", yName: "requests per second", lines: lines, logX: true, xTicks: connTicks(), yTicks: evenly(result.Count)}
	ch.draw(inner)
	return c, about + " The clients use as much CPU time as the server, so two CPUs are busy at every point."
}

func latency(r *result.Report) (*canvas, string) {
	const about = "The time from a request to the end of its response, in a closed loop. At a point with a white centre, the latency is a lower bound: so many clients waited during the whole run."
	c, inner := newCanvas(800, "Latency against the number of connections", caption(r.Machine, about))
	half := (inner.Max.Y - inner.Min.Y) / 2
	drawn := false
	for i, f := range []struct {
		name   string
		figure result.Figure
		q      float64
	}{{"p50: half of the requests are faster", result.P50, 0.5}, {"p99: one request in a hundred is slower", result.P99, 0.99}} {
		lines := sweepLines(r, func(c *result.Cell) float64 { return f.figure.Summary(c.Latency()).Median }, func(c *result.Cell) bool { return c.Bound(f.q) })
		if len(lines) == 0 {
			continue
		}
		ch := chart{title: f.name, xName: "connections", yName: "latency", lines: lines, logX: true, logY: true, xTicks: connTicks(), yTicks: powers(result.Latency)}
		part := draw.Crop(inner, 0, 0, half*vg.Length(1-i)+8, -half*vg.Length(i)-8)
		ch.draw(part)
		drawn = true
	}
	if !drawn {
		return nil, ""
	}
	return c, about
}

// curve makes a line of latency by percentile. A percentile p is at 1/(1−p), so that 99 % and 99.9 % are as far apart as
// 90 % and 99 %.
func curve(label string, s style, o result.Open) line {
	l := line{label: label, style: s}
	for i, p := range result.Percentiles {
		if p < 100 && p >= 10 && float64(o.Due)*(100-p)/100 >= 1 && o.Latency[i] > 0 {
			l.points = append(l.points, plotter.XY{X: 100 / (100 - p), Y: o.Latency[i]})
		}
	}
	return l
}

// percentileTicks has 50 % at 2, because half of the requests are slower, and so on.
func percentileTicks(lines []line) []plot.Tick {
	var most float64
	for _, l := range lines {
		most = max(most, l.points[len(l.points)-1].X)
	}
	var ticks []plot.Tick
	for _, t := range []plot.Tick{{Value: 2, Label: "50 %"}, {Value: 10, Label: "90 %"}, {Value: 100, Label: "99 %"}, {Value: 1000, Label: "99.9 %"}, {Value: 10_000, Label: "99.99 %"}} {
		if t.Value <= most*1.01 {
			ticks = append(ticks, t)
		}
	}
	return ticks
}

func percentiles(r *result.Report) (*canvas, string) {
	var lines []line
	for _, o := range r.Open {
		if l := curve(r.Label(o.Server), styleOf(o.Server), o); len(l.points) > 0 {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 {
		return nil, ""
	}
	about := fmt.Sprintf("%d requests a second are due, whatever the server does (open loop). The latency counts from the moment when a request was due.", r.Open[0].Rate)
	c, inner := newCanvas(430, "Latency by percentile, at a constant rate", caption(r.Machine, about))
	ch := chart{xName: "part of the requests that are at least as fast", yName: "latency", lines: lines, logX: true, logY: true, xTicks: percentileTicks(lines), yTicks: powers(result.Latency)}
	ch.draw(inner)
	return c, about
}

func stall(r *result.Report) (*canvas, string) {
	if r.Stall == nil {
		return nil, ""
	}
	s := r.Stall
	lines := []line{
		curve("open loop", style{color: rgb(0xD55E00), dashes: []vg.Length{6, 3}, glyph: draw.BoxGlyph{}}, s.Open),
		curve("closed loop", style{color: rgb(0x0072B2), glyph: draw.CircleGlyph{}, bold: true}, s.Closed),
	}
	if len(lines[0].points) == 0 || len(lines[1].points) == 0 {
		return nil, ""
	}
	about := fmt.Sprintf("The same server, stopped once for %.0f s. Clients of a closed loop stop asking while they wait, so they hardly notice.", s.Stall)
	c, inner := newCanvas(360, "A stall of a second, seen by two ways to measure", caption(r.Machine, about))
	ch := chart{xName: "part of the requests that are at least as fast", yName: "latency", lines: lines, logX: true, logY: true, xTicks: percentileTicks(lines), yTicks: powers(result.Latency)}
	ch.draw(inner)
	return c, about
}

// shortNames are labels that fit beside a bar.
var shortNames = map[string]string{"stage4-defer": "stage 4, deferring", "nginx-copy": "nginx, copying"}

// short returns the label beside a bar.
func short(s result.Server) string {
	if name, ok := shortNames[s.Name]; ok {
		return name
	}
	return s.Label
}

// fill is the colour of a bar.
func fill(server string) color.Color { return styleOf(server).color }

func cpu(r *result.Report) (*canvas, string) {
	type panel struct {
		name string
		bars []bar
		most float64
	}
	var panels []panel
	rows, shortened := 0, ""
	for _, s := range r.Servers {
		if name, ok := shortNames[s.Name]; ok && s.Missing == "" {
			shortened += fmt.Sprintf(" %s: %s.", name, s.Label)
		}
	}
	for _, w := range r.Workloads {
		p := panel{name: w.Name}
		for _, s := range r.Servers {
			c := r.Cell(w.Name, s.Name)
			if c == nil {
				continue
			}
			v := result.CPU.Summary(c.Throughput())
			b := bar{label: short(s), color: fill(s.Name), value: v.Median, highlighted: s.Name == r.Base, text: "no response"}
			if c.Problem != "" {
				b.text = "not measured"
			}
			if v.N > 0 {
				b.text = result.Digits(v.Median)
				if unserved(c) {
					b.text += "*"
				}
			}
			if v.N >= 3 {
				b.low, b.high = v.Q1, v.Q3
			}
			p.bars = append(p.bars, b)
			p.most = max(p.most, v.Median, v.Q3)
		}
		if p.most > 0 {
			rows = max(rows, len(p.bars))
			panels = append(panels, p)
		}
	}
	if len(panels) == 0 {
		return nil, ""
	}
	about := "Microseconds of CPU time that the whole server uses for a request; the medians, and the quartiles as thin lines. * The server has not served all of its connections." + shortened
	each := rows*barHeight + 34
	height := 100 + each*((len(panels)+1)/2)
	c, inner := newCanvas(height, "CPU time for each request, in µs", caption(r.Machine, about))
	for i, p := range panels {
		x := vg.Length(i%2) * 336
		y := vg.Length(i / 2 * each)
		bars(draw.Crop(inner, x, x-332, 0, -y), p.name, p.bars, p.most, 106)
	}
	return c, about
}

func memory(r *result.Report) (*canvas, string) {
	var all []bar
	var most float64
	for _, m := range r.Memory {
		v := m.PerConn()
		b := bar{label: r.Label(m.Server), color: fill(m.Server), value: v.Median, highlighted: m.Server == r.Base}
		if v.N == 0 {
			b.text = fmt.Sprintf("serves only %s of %s", result.Count(float64(m.Served)), result.Count(float64(m.Of)))
		} else {
			b.text = result.Count(v.Median) + " bytes"
		}
		all = append(all, b)
		most = max(most, v.Median)
	}
	if most == 0 {
		return nil, ""
	}
	about := fmt.Sprintf("What one of %s idle connections adds to the resident memory of the server. The kernel's memory for the socket is not in it.", result.Count(float64(r.Memory[0].Of)))
	c, inner := newCanvas(110+barHeight*len(all), "Memory of an idle connection", caption(r.Machine, about))
	bars(inner, "", all, most, 92)
	return c, about
}
