// Package draw draws scenes: as an SVG picture, and as trace events for Perfetto and about:tracing. The result
// depends on the scenes only, so that it can be compared byte by byte.
package draw

import (
	"fmt"
	"strings"
	"time"

	"fourways.example/lab/learner/trace/scene"
)

// width is the width of a picture in pixels: as wide as a README is shown.
const width = 900

const (
	margin     = 14.0
	plotLeft   = 132.0
	plotRight  = width - margin
	laneHeight = 21.0
	barHeight  = 15.0
	mostLanes  = 16 // lanes of threads in one panel
)

// A Picture is one or several scenes, one below the other.
type Picture struct {
	Title  string
	Text   string // what to see in it, a few sentences
	Scenes []*scene.Scene
	// SameAxis draws all scenes on the same time axis, without cuts, and writes the clients' actions into their lanes.
	// Otherwise each scene has an axis of its own, and the actions are numbered, with a list below.
	SameAxis bool
}

// SVG draws the picture.
func (p *Picture) SVG() []byte {
	c := &canvas{}
	y := 28.0
	c.text(margin, y, "big", p.Title)
	y += 6
	for _, line := range fold(p.Text, width-2*margin, 12) {
		y += 16
		c.text(margin, y, "grey", line)
	}
	y = c.legend(y + 22)
	var shared *axis
	if p.SameAxis {
		from, to := p.Scenes[0].From, time.Duration(0)
		for _, s := range p.Scenes {
			to = max(to, s.To)
		}
		shared = newAxis(from, to, plotLeft, plotRight)
	}
	for _, s := range p.Scenes {
		pl := &panel{canvas: c, scene: s, axis: shared, numbered: !p.SameAxis}
		if shared == nil {
			pl.axis = cutAxis(s.From, s.To, times(s), plotLeft, plotRight)
		}
		y = pl.draw(y + 10)
	}
	return []byte(head(y+6, p.Title, p.description()) + c.String() + "</svg>\n")
}

// description tells the picture in words.
func (p *Picture) description() string {
	parts := []string{p.Text}
	for _, s := range p.Scenes {
		part := strings.TrimSpace(s.Title+". "+s.Result) + ". "
		for _, st := range s.Steps {
			part += strings.TrimSpace(st.Client+" "+st.Did) + outcome(st.Did, st.Saw, st.To-st.From) + "; "
		}
		parts = append(parts, strings.TrimSuffix(part, "; ")+".")
	}
	return strings.Join(parts, "\n")
}

// outcome says what a client saw, and how long that took.
func outcome(did, saw string, took time.Duration) string {
	switch {
	case saw == "" || saw == did:
		return ""
	case took >= time.Millisecond/2:
		return fmt.Sprintf(", %s after %s", saw, ms(took))
	}
	return ", " + saw
}

// legend explains the signs.
func (c *canvas) legend(y float64) float64 {
	x := margin
	item := func(class string, w float64, text string) {
		c.rect(x, y-9, w, 11, class, "")
		x += w + 6
		c.text(x, y, "grey", text)
		x += textWidth(text, 11) + 22
	}
	item("w6", 34, "the thread waits in a system call")
	item("c6", 4, "a call that returns at once (drawn wider than it is)")
	x += 2
	c.text(x, y, "grey", "colour: the client whose connection the call is about")
	return y + 8
}

// times returns the times at which something in the scene begins or ends.
func times(s *scene.Scene) []time.Duration {
	var all []time.Duration
	for _, st := range s.Steps {
		all = append(all, st.From, st.To)
	}
	for _, l := range s.Lanes {
		for _, b := range l.Bars {
			all = append(all, b.From, b.To)
		}
	}
	return all
}
