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

// clientLanes returns the clients that have a lane of their own. If they are too many, all share one, "".
func (p *panel) clientLanes() []string {
	if n := len(p.scene.Clients); n == 0 || n > 4 {
		return []string{""}
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

// client draws the actions of a client, or of all clients if name is "".
func (p *panel) client(y float64, name string) {
	label := name + " client"
	if p.numbered {
		label = "client " + name
	}
	if name == "" {
		label = "clients"
	}
	p.rect(margin, y+4, 8, 8, fmt.Sprintf("c%d", p.colour(name)), "")
	p.text(margin+14, y+12, "", label)
	mine := func(s tape.Step) bool { return name == "" || s.Client == name || s.Client == "" && p.numbered }
	var steps []int
	for i, s := range p.scene.Steps {
		if mine(s) {
			steps = append(steps, i)
		}
	}
	if len(steps) > 0 && name != "" {
		from, to := p.span(steps, name)
		p.rect(from, y+barHeight-2, max(to-from, 1), 2, fmt.Sprintf("c%d", p.colour(name)), name+" is connected")
	}
	for n, i := range steps {
		s := p.scene.Steps[i]
		if s.Client == "" && name != "" && name != p.clientLanes()[0] {
			continue
		}
		next := plotRight
		if n+1 < len(steps) {
			next = p.axis.x(p.scene.Steps[steps[n+1]].From)
		}
		p.step(y, i, s, next)
	}
}

// span returns where a client's first action begins and its last one ends.
func (p *panel) span(steps []int, name string) (from, to float64) {
	from = plotRight
	for _, i := range steps {
		if s := p.scene.Steps[i]; s.Client == name {
			from, to = min(from, p.axis.x(s.From)), max(to, p.axis.x(s.From), p.axis.x(s.To))
		}
	}
	return from, to
}

// step draws one action: a mark, and a bar while the client waits for the result. The text must end before next.
func (p *panel) step(y float64, i int, s tape.Step, next float64) {
	k := p.colour(s.Client)
	x, to := p.axis.x(s.From), p.axis.x(s.To)
	say := s.Did + outcome(s.Did, s.Saw, s.To-s.From)
	if to-x > 2 {
		p.rect(x, y, to-x, barHeight, fmt.Sprintf("w%d", k), say)
	}
	fmt.Fprintf(p, `<path d="M%.1f %.1fl5 -4v8z" transform="rotate(180 %.1f %.1f)" class="c%d"><title>%s</title></path>`+"\n", x+5, y+barHeight/2, x+5, y+barHeight/2, k, escape(say))
	if p.numbered {
		say = fmt.Sprint(i + 1)
	}
	if x+14+textWidth(say, 11) < next {
		p.text(x+13, y+11.5, "over", say)
	} else if x+14+textWidth(s.Did, 11) < next {
		p.text(x+13, y+11.5, "over", s.Did)
	}
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
