package draw

import (
	"fmt"
	"unicode/utf8"

	"fourways.example/lab/learner/trace/scene"
)

// A mark is a bar as it is drawn. It stands for one call, or for several short ones that have no room beside each other.
type mark struct {
	left, right float64
	client      string
	wait        bool
	name, says  string
	tips        []string
}

const (
	thinnest = 3.0  // the width of a short call in pixels
	farthest = 12.0 // how far from its time a short call may be drawn
	mostTips = 12   // calls that the tip of a mark names
)

// marks places the calls of a lane side by side.
func (p *panel) marks(l *scene.Lane) []mark {
	var all []mark
	end := plotLeft - farthest
	for i := range l.Bars {
		b := &l.Bars[i]
		x, to := p.axis.x(b.From), p.axis.x(b.To)
		left := max(x, end)
		if n := len(all); n > 0 && to <= left && (b.Wait || left-x > farthest || left > plotRight) {
			all[n-1].cover(b)
			continue
		}
		right := max(to, left+thinnest)
		all = append(all, mark{left, right, b.Client, b.Wait, b.Name, b.Says, tips(nil, b)})
		end = right
	}
	return all
}

// cover adds a call for which there is no room to the mark before it.
func (m *mark) cover(b *scene.Bar) {
	m.tips = tips(m.tips, b)
	if m.client != b.Client && !b.Wait {
		m.client = ""
	}
}

// tips adds a call to the tip of a mark.
func tips(to []string, b *scene.Bar) []string {
	if len(to) == mostTips {
		return append(to, "…")
	}
	if len(to) > mostTips {
		return to
	}
	text := b.Name
	if !b.Signal {
		text = fmt.Sprintf("%s(%s) = %s", b.Name, b.Args, b.Result)
	}
	if utf8.RuneCountInString(text) > 200 {
		text = string([]rune(text)[:200]) + "…"
	}
	return append(to, fmt.Sprintf("%s: %s; %s at %s, thread %d", b.Says, text, ms(b.Dur()), ms(b.From), b.Thread))
}

// A run is a series of waits for the same, which have one text.
type run struct {
	left, right float64
	name, says  string
}

// gap is the space in pixels between two waits that are one run.
const gap = 6

func runs(all []mark) []run {
	var found []run
	for _, m := range all {
		if !m.wait {
			continue
		}
		if n := len(found); n > 0 && found[n-1].says == m.says && m.left-found[n-1].right <= gap {
			found[n-1].right = m.right
			continue
		}
		found = append(found, run{m.left, m.right, m.name, m.says})
	}
	return found
}
