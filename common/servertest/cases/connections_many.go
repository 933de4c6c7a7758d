package cases

import (
	"fmt"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
)

// many is the number of connections in a case. It is large enough to exhaust a server that loses a
// descriptor or a thread with each connection.
const many = 4000

// manyCases returns the cases with many connections, one after another. Each has its own server.
func manyCases() []Case {
	run := func(one func(t *T, i int)) func(*T) {
		return func(t *T) {
			t.Dial().Request("GET", "/plain.txt").WantBody(200, docroot.Texts["plain.txt"])
			t.End()
			t.Eventually("the first client is gone", func() bool { return t.Server.Connections() <= 0 })
			before := len(t.Server.FDs())
			start := time.Now()
			for i := range many {
				one(t, i)
			}
			// A client that connects after all of them is served, so the server has accepted them all.
			t.Dial().Patience(time.Minute).Request("GET", "/plain.txt").WantBody(200, docroot.Texts["plain.txt"])
			t.End()
			if took := time.Since(start); took > time.Minute {
				t.Errorf("%d connections take %v, want at most 1 minute", many, took)
			}
			after := 0
			if !kernel.Eventually(t.Patience(), func() bool { after = len(t.Server.FDs()); return after <= before }) {
				t.Errorf("the server has %d descriptors, want at most the %d that it had before", after, before)
			}
		}
	}
	// drop sends the beginning of a request and then closes or resets the connection, in turn.
	drop := func(part string) func(*T, int) {
		return func(t *T, i int) {
			c := t.Connect(t.Server, DialOptions{})
			c.Send(part)
			if i%2 == 0 {
				c.Close()
			} else {
				c.Reset()
			}
		}
	}
	return []Case{
		{Name: "many-served", IDs: []string{"conn-many"}, Alone: true, Flags: []string{"-s"}, Run: run(func(t *T, i int) {
			c := t.Connect(t.Server, DialOptions{})
			body := fmt.Sprint("number ", i)
			c.Post("/echo", body).WantBody(200, body)
			c.Close()
		})},
		{Name: "many-dropped-in-line", IDs: []string{"conn-many-dropped"}, Alone: true, Flags: []string{"-s"}, Run: run(drop("GET /plain.tx"))},
		{Name: "many-dropped-in-head", IDs: []string{"conn-many-dropped"}, Alone: true, Flags: []string{"-s"}, Run: run(drop(get + "X: y"))},
	}
}
