package suite

import (
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/wire"
)

// Dial connects to the case's server. The connection is closed when the case ends.
func (t *T) Dial() *wire.Client {
	t.Helper()
	return t.DialTo(t.Server, process.DialOptions{})
}

// DialTo connects to any server.
func (t *T) DialTo(s *process.Server, o process.DialOptions) *wire.Client {
	t.Helper()
	c := t.Connect(s, o)
	t.OnEnd(c.Close)
	return c
}

// Connect is DialTo for callers that close the connection themselves.
func (t *T) Connect(s *process.Server, o process.DialOptions) *wire.Client {
	conn, err := s.Dial(o)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return wire.NewClient(t, conn, conn, t.Patience())
}

// EachSplit sends a request once for every place where it can be cut in two, all on one
// persistent connection, and lets check read each response.
func (t *T) EachSplit(raw string, check func(c *wire.Client)) {
	t.Helper()
	c := t.Dial()
	for at := 1; at < len(raw); at++ {
		c.SendPieces(raw, at)
		check(c)
	}
	c.WantKept()
	c.Close()
}

// Idle makes n connections that never say a word.
func (t *T) Idle(n int) []*wire.Client {
	t.Helper()
	clients := make([]*wire.Client, n)
	for i := range clients {
		clients[i] = t.Dial()
	}
	return clients
}

// Flood starts a flood. It ends with the case, or with Stop.
func (t *T) Flood(raw string) *wire.Flood {
	t.Helper()
	conn, err := t.Server.Dial(process.DialOptions{})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	f := wire.NewFlood(conn, raw)
	t.OnEnd(f.Stop)
	return f
}
