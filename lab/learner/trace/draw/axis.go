package draw

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// An axis maps times to pixels. Stretches in which nothing begins or ends may be cut: they are drawn shorter, and the
// picture says how long they are.
type axis struct{ parts []part }

type part struct {
	from, to time.Duration
	left     float64
	right    float64
	cut      bool
}

// cutWidth is the width of a cut stretch in pixels. The time that is left out must fit into it.
const cutWidth = 46

// newAxis returns an axis for the times from and to without cuts.
func newAxis(from, to time.Duration, left, right float64) *axis {
	return &axis{[]part{{from: from, to: max(to, from+time.Microsecond), left: left, right: right}}}
}

// cutAxis returns an axis on which long stretches between the given times are cut.
func cutAxis(from, to time.Duration, times []time.Duration, left, right float64) *axis {
	to = max(to, from+time.Microsecond)
	times = append(slices.Clone(times), from, to)
	slices.Sort(times)
	for shortest := 25 * time.Millisecond; ; shortest *= 2 {
		parts, cut := split(times, from, to, shortest)
		if cuts := float64(len(parts) / 2); cuts*cutWidth < (right-left)/2 {
			scale(parts, to-from-cut, left, right-cuts*cutWidth)
			return &axis{parts}
		}
	}
}

// split splits the time into parts, of which every second one is cut. It returns how much time is cut.
func split(times []time.Duration, from, to, shortest time.Duration) (parts []part, cut time.Duration) {
	// A cut begins a little after the last event and ends a little before the next one, so that a bar that ends there is
	// still seen to wait.
	pad := shortest / 5
	at := from
	for i := 1; i < len(times); i++ {
		gap := times[i] - times[i-1]
		if times[i-1] < from || times[i] > to || gap < shortest {
			continue
		}
		a, b := times[i-1]+pad, times[i]-pad
		parts = append(parts, part{from: at, to: a}, part{from: a, to: b, cut: true})
		cut += b - a
		at = b
	}
	return append(parts, part{from: at, to: to}), cut
}

// scale gives each part its place. shown is the time that is not cut, and right is where it would end without cuts.
func scale(parts []part, shown time.Duration, left, right float64) {
	perTime := (right - left) / float64(max(shown, time.Microsecond))
	for i := range parts {
		p := &parts[i]
		p.left = left
		p.right = left + float64(p.to-p.from)*perTime
		if p.cut {
			p.right = left + cutWidth
		}
		left = p.right
	}
}

// x returns the place of a time.
func (a *axis) x(t time.Duration) float64 {
	for _, p := range a.parts {
		if t <= p.to {
			t = max(t, p.from)
			return p.left + (p.right-p.left)*float64(t-p.from)/float64(max(p.to-p.from, 1))
		}
	}
	return a.parts[len(a.parts)-1].right
}

// A tick is a time written at the axis.
type tick struct {
	x    float64
	text string
	cut  bool // the text says how much time is cut
}

// ticks returns times at round numbers, at least apart pixels from each other.
func (a *axis) ticks(apart float64) []tick {
	first := a.parts[0]
	perMs := (first.right - first.left) / float64(first.to-first.from) * float64(time.Millisecond)
	step := 0.1
	for _, nice := range []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000} {
		step = nice
		if step*perMs >= apart {
			break
		}
	}
	every := time.Duration(step * float64(time.Millisecond))
	var all []tick
	for _, p := range a.parts {
		if p.cut {
			all = append(all, tick{(p.left + p.right) / 2, "+" + ms((p.to - p.from).Round(time.Millisecond)), true})
		}
	}
	cuts := all
	last := -1e9
	for _, p := range a.parts {
		for t := max(p.from+every-1, 0) / every * every; t <= p.to && !p.cut; t += every {
			x := a.x(t)
			near := slices.ContainsFunc(cuts, func(c tick) bool { return math.Abs(c.x-x) < apart*0.8 })
			if x-last >= apart*0.75 && !near {
				all = append(all, tick{x, ms(t), false})
				last = x
			}
		}
	}
	return all
}

// ms prints a duration in milliseconds, with as many digits as say something.
func ms(d time.Duration) string {
	v := float64(d) / float64(time.Millisecond)
	switch {
	case v == float64(int64(v)) || v >= 20:
		return fmt.Sprintf("%.0f ms", v)
	case v >= 1:
		return fmt.Sprintf("%.1f ms", v)
	}
	return fmt.Sprintf("%.2f ms", v)
}
