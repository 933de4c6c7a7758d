package main

import (
	"io"
	"net/netip"
	"os"
	"testing"

	"fourways.example/common/cli"
	"fourways.example/common/servertest"
)

// TestListenFails: a socket that cannot listen is closed again.
func TestListenFails(t *testing.T) {
	cfg := newConfig(t)
	first, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	const tries = 100 // what earlier tests left behind may close some of its own meanwhile
	before := len(servertest.SocketsOf(os.Getpid()))
	for range tries {
		if _, err := listen(first.Addr(), cfg); err == nil {
			t.Fatalf("%v can be listened on twice", first.Addr())
		}
	}
	if more := len(servertest.SocketsOf(os.Getpid())) - before; more > tries/2 {
		t.Errorf("%d times it could not listen, and %d sockets more are open", tries, more)
	}
}

// newConfig is what main would make of an empty command line.
func newConfig(t *testing.T) *cli.Config {
	t.Helper()
	cfg, err := cli.New(stage, nil, func(string) string { return "" }, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
