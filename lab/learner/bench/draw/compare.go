package draw

import (
	"fmt"
	"path/filepath"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"fourways.example/lab/learner/bench/result"
)

// Comparison draws the picture of a comparison into dir, and returns its path: a row for each situation, with a
// panel for each figure.
func Comparison(cmp *result.Comparison, dir string) (string, error) {
	const each = 138
	about := "Served: how many clients got a response. p99: one request in a hundred takes longer. Requests that got no response count with the time that they waited."
	c, inner := newCanvas(110+each*len(cmp.Situations), "The four stages with the same clients", caption(cmp.Machine, about))
	for i, s := range cmp.Situations {
		row := draw.Crop(inner, 0, 0, 0, -vg.Length(i*each))
		y := row.Max.Y - 6
		if i > 0 {
			c.StrokeLine2(draw.LineStyle{Color: pale, Width: 1}, row.Min.X, row.Max.Y+10, row.Max.X, row.Max.Y+10)
		}
		c.FillText(textStyle(13, ink, true), vg.Point{X: row.Min.X, Y: y}, fmt.Sprintf("%d. %s", i+1, s.Name))
		c.FillText(textStyle(11, grey, false), vg.Point{X: row.Min.X, Y: y - 17}, s.Text)
		var served, slow, threads, memory []bar
		var slowest, mostThreads, mostMemory float64
		for _, o := range s.Rows {
			name := fmt.Sprintf("stage%d", o.Stage)
			b := bar{label: fmt.Sprintf("stage %d", o.Stage), color: fill(name), highlighted: o.Stage == 4}
			add := func(to *[]bar, value float64, text string, most *float64) {
				b.value, b.text = value, text
				*to = append(*to, b)
				if most != nil {
					*most = max(*most, value)
				}
			}
			add(&served, float64(o.Served), fmt.Sprintf("%s of %s", result.Count(float64(o.Served)), result.Count(float64(s.Clients))), nil)
			add(&slow, o.P99, o.Slowest(), &slowest)
			add(&threads, float64(o.Threads), fmt.Sprint(o.Threads), &mostThreads)
			add(&memory, float64(o.Memory), fmt.Sprintf("%.0f MB", float64(o.Memory)/1e6), &mostMemory)
		}
		for _, p := range []struct {
			name      string
			bars      []bar
			most      float64
			x, labels vg.Length
			width     vg.Length
		}{
			{"served", served, float64(s.Clients), 0, 66, 256},
			{"p99", slow, slowest, 280, 0, 146},
			{"threads", threads, mostThreads, 440, 0, 96},
			{"memory", memory, mostMemory, 552, 0, 116},
		} {
			part := draw.Crop(row, 0, 0, 0, -34)
			part.Min.X = row.Min.X + p.x
			part.Max.X = part.Min.X + p.width
			bars(part, p.name, p.bars, p.most, p.labels)
		}
	}
	path := filepath.Join(dir, "compare.svg")
	return path, c.write(path)
}
