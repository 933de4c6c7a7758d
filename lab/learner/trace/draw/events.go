package draw

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"fourways.example/lab/learner/trace/scene"
)

// An event is an event of the trace event format, which Perfetto and about:tracing open.
type event struct {
	Name  string         `json:"name"`
	Cat   string         `json:"cat,omitempty"`
	Phase string         `json:"ph"`
	Time  *float64       `json:"ts,omitempty"`  // in microseconds
	Dur   *float64       `json:"dur,omitempty"` // in microseconds
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	Scope string         `json:"s,omitempty"`
	Args  map[string]any `json:"args,omitempty"`
}

// Events returns the picture as trace events. The server and the clients of each scene are two processes in it.
func (p *Picture) Events() []byte {
	var all []event
	for i, s := range p.Scenes {
		all = append(all, clientEvents(s, 2*i+1)...)
		all = append(all, serverEvents(s, 2*i+2)...)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"title\":%s},\"traceEvents\":[", quoted(p.Title))
	for i, e := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.WriteString(quoted(e))
	}
	b.WriteString("\n]}\n")
	return []byte(b.String())
}

func quoted(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // an event contains only texts and finite numbers
	}
	return string(b)
}

// meta returns an event that names a process or a thread, or gives it its place.
func meta(name string, pid, tid int, key string, value any) event {
	return event{Name: name, Phase: "M", PID: pid, TID: tid, Args: map[string]any{key: value}}
}

func micros(d time.Duration) *float64 {
	v := float64(d) / float64(time.Microsecond)
	return &v
}

// clientEvents returns the actions of the clients: an instant for an action, a slice for the wait for its result.
func clientEvents(s *scene.Scene, pid int) []event {
	all := []event{
		meta("process_name", pid, 0, "name", s.Title+": clients"),
		meta("process_sort_index", pid, 0, "sort_index", pid),
	}
	tids := map[string]int{"": len(s.Clients) + 1}
	for i, name := range s.Clients {
		tids[name] = i + 1
		all = append(all, meta("thread_name", pid, i+1, "name", name))
	}
	all = append(all, meta("thread_name", pid, len(s.Clients)+1, "name", "all clients"))
	for _, st := range s.Steps {
		e := event{
			Name: strings.TrimSpace(st.Did + outcome(st.Did, st.Saw, 0)), Cat: "client", Phase: "i", Scope: "t",
			Time: micros(st.From), PID: pid, TID: tids[st.Client],
		}
		if st.To > st.From {
			e.Phase, e.Scope, e.Dur = "X", "", micros(st.To-st.From)
		}
		all = append(all, e)
	}
	return all
}

// serverEvents returns the calls of the server's threads as slices.
func serverEvents(s *scene.Scene, pid int) []event {
	all := []event{
		meta("process_name", pid, 0, "name", s.Title+": server"),
		meta("process_sort_index", pid, 0, "sort_index", pid),
	}
	for i := range s.Lanes {
		l := &s.Lanes[i]
		all = append(all,
			meta("thread_name", pid, i+1, "name", l.Role),
			meta("thread_sort_index", pid, i+1, "sort_index", i))
		for j := range l.Bars {
			all = append(all, callEvent(&l.Bars[j], pid, i+1))
		}
	}
	return all
}

func callEvent(b *scene.Bar, pid, tid int) event {
	e := event{Name: b.Name, Cat: "work", Phase: "X", Time: micros(b.From), Dur: micros(b.Dur()), PID: pid, TID: tid}
	if b.Wait {
		e.Cat, e.Name = "wait", b.Name+": "+b.Says
	}
	if b.Signal {
		e.Cat, e.Phase, e.Scope, e.Dur = "signal", "i", "t", nil
	}
	e.Args = map[string]any{"says": b.Says, "arguments": b.Args, "result": b.Result, "thread": b.Thread}
	if b.Client != "" {
		e.Args["client"] = b.Client
	}
	return e
}
