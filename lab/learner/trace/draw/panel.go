package draw

import (
	"fmt"
	"slices"
	"strings"

	"fourways.example/lab/learner/trace/scene"
	"fourways.example/lab/learner/trace/tape"
)

// A panel is the part of a picture for one scene.
type panel struct {
	*canvas
	scene    *scene.Scene
	axis     *axis
	numbered bool
}

// draw draws the panel below y, and returns where it ends.
func (p *panel) draw(y float64) float64 {
	y += 16
	p.line(margin, y-14, plotRight, y-14, "line")
	p.text(margin, y+4, "head", p.scene.Title)
	p.textAt(plotRight, y+4, "end", "head", p.scene.Result)
	y += 16
	top := y
	lanes := p.scene.Lanes
	rest := 0
	if len(lanes) > mostLanes {
		lanes, rest = lanes[:mostLanes], len(lanes)-mostLanes
	}
	clients := p.clientLanes()
	bottom := y + laneHeight*float64(len(clients)+len(lanes)) + 6
	p.grid(top, bottom)
	for _, name := range clients {
		p.client(y, name)
		y += laneHeight
	}
	y += 6
	for i := range lanes {
		p.lane(y, &lanes[i])
		y += laneHeight
	}
	y = p.ticks(y + 12)
	for _, note := range p.scene.Notes {
		y = p.paragraph(y, note)
	}
	if rest > 0 {
		y = p.paragraph(y, fmt.Sprintf("%d more threads made calls, and have no lane here.", rest))
	}
	if p.scene.LeftOut > 0 {
		y = p.paragraph(y, fmt.Sprintf("The server made %d more calls, which are left out.", p.scene.LeftOut))
	}
	if p.numbered {
		y = p.list(y)
	}
	return y
}

func (p *panel) paragraph(y float64, text string) float64 {
	for _, line := range fold(text, plotRight-margin, 11) {
		y += 15
		p.text(margin, y, "grey", line)
	}
	return y
}

// grid draws a line at each time of the axis, and marks what is cut.
func (p *panel) grid(top, bottom float64) {
	for _, t := range p.axis.ticks(64) {
		if !t.cut {
			p.line(t.x, top, t.x, bottom, "line")
		}
	}
	for _, part := range p.axis.parts {
		if part.cut {
			p.line(part.left, top, part.left, bottom+14, "cut")
			p.line(part.right, top, part.right, bottom+14, "cut")
		}
	}
}

func (p *panel) ticks(y float64) float64 {
	for _, t := range p.axis.ticks(64) {
		p.textAt(t.x, y, "middle", "grey", t.text)
	}
	return y
}

// clientLanes returns the clients that have a lane of their own. The lane "" is for the other actions.
func (p *panel) clientLanes() []string {
	if n := len(p.scene.Clients); n == 0 || n > 4 {
		return []string{""}
	}
	if slices.ContainsFunc(p.scene.Steps, func(s tape.Step) bool { return s.Client == "" }) {
		return append(slices.Clone(p.scene.Clients), "")
	}
	return p.scene.Clients
}

// colour returns the number of a client's colour.
func (p *panel) colour(client string) int {
	if i := slices.Index(p.scene.Clients, client); i >= 0 {
		return i % len(palette)
	}
	return other
}

// client draws the actions of a client, or those that have no lane of their own if name is "".
func (p *panel) client(y float64, name string) {
	label := name + " client"
	switch {
	case name == "" && len(p.clientLanes()) == 1:
		label = "clients"
	case name == "":
		label = "other actions"
	case p.numbered:
		label = "client " + name
	}
	p.rect(margin, y+4, 8, 8, fmt.Sprintf("c%d", p.colour(name)), "")
	p.text(margin+14, y+12, "", label)
	var steps []int
	for i, s := range p.scene.Steps {
		if s.Client == name || len(p.clientLanes()) == 1 {
			steps = append(steps, i)
		}
	}
	if len(steps) > 0 && name != "" {
		from, to := p.span(steps)
		p.rect(from, y+barHeight-2, max(to-from, 1), 2, fmt.Sprintf("c%d", p.colour(name)), name+" is connected")
	}
	first := 0 // of the actions whose number is not written yet
	for n, i := range steps {
		next := plotRight
		if n+1 < len(steps) {
			next = p.axis.x(p.scene.Steps[steps[n+1]].From)
		}
		said := p.scene.Steps[i].Did
		if p.numbered {
			said = fmt.Sprint(i + 1)
			if first < n {
				said = fmt.Sprintf("%d–%d", steps[first]+1, i+1)
			}
			if !consecutive(steps[first : n+1]) {
				said = fmt.Sprintf("…%d", i+1)
			}
		}
		if p.step(y, p.scene.Steps[i], said, next) {
			first = n + 1
		}
	}
}

// consecutive reports whether each number is one more than the one before.
func consecutive(numbers []int) bool {
	return numbers[len(numbers)-1]-numbers[0] == len(numbers)-1
}

// span returns where the first of the actions begins and the last one ends.
func (p *panel) span(steps []int) (from, to float64) {
	from = plotRight
	for _, i := range steps {
		s := p.scene.Steps[i]
		from, to = min(from, p.axis.x(s.From)), max(to, p.axis.x(s.From), p.axis.x(s.To))
	}
	return from, to
}

// step draws one action: a mark, and a bar while the client waits for the result. It reports whether what is to be said
// fits in front of next.
func (p *panel) step(y float64, s tape.Step, said string, next float64) bool {
	k := p.colour(s.Client)
	x, to := p.axis.x(s.From), p.axis.x(s.To)
	all := s.Did + outcome(s.Did, s.Saw, s.To-s.From)
	if to-x > 2 {
		p.rect(x, y, to-x, barHeight, fmt.Sprintf("w%d", k), all)
	}
	fmt.Fprintf(p, `<path d="M%.1f %.1fv8l5 -4z" class="c%d"><title>%s</title></path>`+"\n", x, y+barHeight/2-4, k, escape(all))
	if !p.numbered && x+14+textWidth(all, 11) < next {
		said = all
	}
	if x+10+textWidth(said, 11) > next {
		return false
	}
	p.text(x+9, y+11.5, "over", said)
	return true
}

// lane draws the calls of a thread.
func (p *panel) lane(y float64, l *scene.Lane) {
	p.text(margin, y+11.5, "", l.Role)
	p.line(plotLeft, y+barHeight/2, plotRight, y+barHeight/2, "line")
	for _, m := range p.marks(l) {
		class := fmt.Sprintf("c%d", p.colour(m.client))
		if m.wait {
			class = fmt.Sprintf("w%d", p.colour(m.client))
		}
		p.rect(m.left, y, m.right-m.left, barHeight, class, strings.Join(m.tips, "\n"))
	}
	for _, r := range runs(p.marks(l)) {
		for _, say := range []string{r.name + ": " + r.says, r.says, strings.TrimPrefix(r.says, "waits for ")} {
			if textWidth(say, 11) < r.right-r.left-6 {
				p.text(r.left+4, y+11.5, "over", say)
				break
			}
		}
	}
}

// list writes the numbered actions.
func (p *panel) list(y float64) float64 {
	y += 4
	for i, s := range p.scene.Steps {
		text := s.Did + outcome(s.Did, s.Saw, s.To-s.From)
		y += 15
		p.textAt(margin+18, y, "end", "grey", fmt.Sprint(i+1))
		for n, line := range fold(text, plotRight-margin-30, 11) {
			if n > 0 {
				y += 14
			}
			p.text(margin+26, y, "", line)
		}
	}
	return y + 4
}
