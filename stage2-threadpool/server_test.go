package main

import (
	"io"
	"net/netip"
	"os"
	"testing"

	"fourways.example/common/cli"
	"fourways.example/common/servertest"
)

// TestListenFails checks that listen closes its socket after an error.
func TestListenFails(t *testing.T) {
	cfg := newConfig(t)
	first, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	const tries = 100 // earlier tests may close sockets meanwhile, but far fewer than this
	before := len(servertest.SocketsOf(os.Getpid()))
	for range tries {
		if _, err := listen(first.Addr(), cfg); err == nil {
			t.Fatalf("two sockets listen on %v", first.Addr())
		}
	}
	if more := len(servertest.SocketsOf(os.Getpid())) - before; more > tries/2 {
		t.Errorf("after %d failures to listen, %d more sockets are open", tries, more)
	}
}

// newConfig returns the configuration of an empty command line.
func newConfig(t *testing.T) *cli.Config {
	t.Helper()
	cfg, err := cli.New(stage, nil, func(string) string { return "" }, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
