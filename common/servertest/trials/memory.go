package trials

import (
	"fmt"
	"strings"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
)

// memoryBudget sends as many large requests as use up the memory that all of them may have together. The server
// must still serve small requests, which do not count.
func memoryBudget(t *T) {
	const large, medium = 70, 80 // of 1 MiB and of 20 KB, together more than the limit of 64 MiB
	flags := []string{"--body-timeout", "5m"}
	if t.Stage() < 4 {
		flags = append(flags, "-n", fmt.Sprint(large+medium+1))
	}
	s := t.Begin(Config{Flags: flags})
	serve(t, s)
	send := func(size int) *Client {
		c := t.DialTo(s, DialOptions{})
		c.Send(fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size-1)))
		return c
	}
	var clients []*Client
	for range large {
		clients = append(clients, send(1<<20))
	}
	for range medium {
		clients = append(clients, send(20_000))
	}
	for _, c := range clients {
		c.AwaitRead()
	}
	refused := 0
	for _, c := range clients {
		if !c.Silent() {
			refused++
		}
	}
	t.Logf("the server refuses %d of %d large requests", refused, len(clients))
	for range 20 {
		c := t.DialTo(s, DialOptions{})
		c.Request("GET", "/healthz").WantBody(200, "ok")
		c.Post("/echo", "small").WantBody(200, "small")
		c.Close()
	}
	for _, c := range clients {
		c.Reset()
	}
	t.Eventually("all connections are closed", func() bool { return s.Connections() == 0 })
	c := send(1 << 20) // the memory is free again
	c.Send("x").Want(200)
}

// idleAfterTurn has clients pipeline so many requests that the turn of the event loop ends exactly with a
// response. The clients are idle then and must not need more memory than other idle clients.
func idleAfterTurn(t *T) {
	const clients = 1000
	const maxEach = 4 << 10 // bytes for each client
	s := t.Begin(Config{Flags: []string{"--idle-timeout", "10m"}})
	for range 100 {
		serve(t, s)
	}
	t.Eventually("all connections are closed", func() bool { return s.Connections() == 0 })
	before := s.Memory("RssAnon")
	crowd := newCrowd(t, s, clients, false)
	for requests := 13; requests <= 17; requests++ {
		data := []byte(strings.Repeat(healthz, requests))
		for _, m := range crowd {
			if _, err := m.exchange(data, requests); err != nil {
				t.Fatalf("%d requests: %v", requests, err)
			}
		}
		grown := s.Memory("RssAnon") - before
		t.Logf("after %d requests each: RssAnon has grown by %d kB", requests, grown>>10)
		if grown > clients*maxEach && !racing {
			t.Errorf("%d idle clients that have pipelined %d requests need %d kB", clients, requests, grown>>10)
		}
	}
}

// memoryReturns has as many clients as the server can serve at once send most of a body and then nothing. When
// these clients have left, the server must return the memory of the bodies to the system.
func memoryReturns(t *T) {
	clients, length, sent := 64, 600_000, 500_000
	if t.Stage() == 4 {
		clients, length, sent = 3000, 30_000, 20_000
	}
	s := t.Begin(Config{Flags: []string{"--body-timeout", "5m"}})
	for range 100 {
		serve(t, s)
	}
	before := s.Memory("RssAnon")
	crowd := newCrowd(t, s, clients, false)
	body := fmt.Appendf(nil, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", length, strings.Repeat("x", sent))
	for i, m := range crowd {
		_ = m.conn.SetDeadline(time.Now().Add(process.Patience))
		if _, err := m.conn.Write(body); err != nil {
			t.Fatalf("client %d cannot send most of a body: %v", i, err)
		}
	}
	for i, m := range crowd {
		t.Eventually(fmt.Sprintf("the server has read all that client %d has sent", i), func() bool {
			return kernel.AllRead(m.conn, int64(len(body)))
		})
	}
	load := s.Memory("RssAnon")
	if load < before+int64(clients)*int64(sent)/2 && !racing {
		t.Errorf("%d bodies of %d bytes make RssAnon grow only from %d to %d kB: the trial shows nothing", clients, sent, before>>10, load>>10)
	}
	for _, m := range crowd {
		m.leave()
	}
	t.Eventually("all connections are closed", func() bool { return s.Connections() == 0 })
	// Go does not return the memory in which it manages a large heap, 1 to 2 % of the heap.
	most := before + before/2 + (load-before)/16
	if racing {
		most = load // the race detector keeps memory for freed objects
	}
	after, start := int64(0), time.Now()
	if !kernel.Eventually(35*time.Second, func() bool { after = s.Memory("RssAnon"); return after < most }) {
		t.Errorf("RssAnon is %d kB after 100 requests, %d kB with %d slow clients and %d kB %v after they have left; want less than %d kB",
			before>>10, load>>10, clients, after>>10, time.Since(start).Round(time.Second), most>>10)
	}
	t.Logf("RssAnon is %d kB after 100 requests, %d kB with %d slow clients and %d kB %v after they have left",
		before>>10, load>>10, clients, after>>10, time.Since(start).Round(time.Millisecond))
	serve(t, s)
}
