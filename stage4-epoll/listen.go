package main

import (
	"errors"
	"fmt"
	"net/netip"

	"fourways.example/common/cli"
	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// backlog limits the connections that wait in the kernel to be accepted, see listen(2).
const backlog = 4096

// Listen opens the listening sockets that --bind asks for. It asks no resolver for
// addresses, and it always sets IPV6_V6ONLY, so the system's settings do not matter.
func Listen(cfg *cli.Config) ([]*sock.Listener, error) {
	port := cfg.Port
	switch cfg.Bind {
	case "4":
		return one(listen(netip.AddrPortFrom(netip.IPv4Unspecified(), port), false, cfg))
	case "6":
		return one(listen(netip.AddrPortFrom(netip.IPv6Unspecified(), port), true, cfg))
	case "separate":
		return separate(cfg)
	}
	listeners, err := one(listen(netip.AddrPortFrom(netip.IPv6Unspecified(), port), false, cfg))
	if cfg.Bind == "auto" && lacks(err) {
		cfg.Note("one socket cannot serve both families: %v", err)
		return separate(cfg)
	}
	return listeners, err
}

// separate opens a socket for each family that the machine has. With port 0, the kernel
// chooses the port of the IPv6 socket, and the IPv4 socket takes the same one. If another
// program has that port for IPv4, separate tries again with two new sockets. If the machine
// lacks a family, it serves the other, and says so with cfg.Note: "IPv4 only: ERR" or "IPv6 only: ERR".
func separate(cfg *cli.Config) ([]*sock.Listener, error) {
	for try := 1; ; try++ {
		port := cfg.Port
		six, err6 := listen(netip.AddrPortFrom(netip.IPv6Unspecified(), port), true, cfg)
		if err6 == nil {
			port = six.Addr().Port()
		} else if !lacks(err6) {
			return nil, err6
		}
		four, err4 := listen(netip.AddrPortFrom(netip.IPv4Unspecified(), port), false, cfg)
		switch {
		case err4 == nil && err6 == nil:
			return []*sock.Listener{six, four}, nil
		case err4 == nil:
			cfg.Note("IPv4 only: %v", err6)
			return []*sock.Listener{four}, nil
		case err6 == nil && lacks(err4):
			cfg.Note("IPv6 only: %v", err4)
			return []*sock.Listener{six}, nil
		case err6 != nil:
			return nil, err4
		}
		six.Close()
		if cfg.Port != 0 || try == 10 || !errors.Is(err4, unix.EADDRINUSE) {
			return nil, err4
		}
	}
}

// lacks reports whether err means that the machine does not have a family of addresses.
// After any other error, such as a port in use, the server must stop and report it.
func lacks(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENOPROTOOPT)
}

// one makes a list of the one socket that listen returned.
func one(l *sock.Listener, err error) ([]*sock.Listener, error) {
	if err != nil {
		return nil, err
	}
	return []*sock.Listener{l}, nil
}

// listen opens a socket that listens on addr. Accepted connections inherit its options,
// which saves three system calls for each connection. With v6only, an IPv6 socket leaves
// IPv4 clients to another socket. The option is always set, on or off, because the
// system's default may be either.
func listen(addr netip.AddrPort, v6only bool, cfg *cli.Config) (*sock.Listener, error) {
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	l, err := sock.Socket(family)
	if err != nil {
		return nil, fmt.Errorf("listen on %v: %w", addr, err)
	}
	for _, step := range []func() error{
		l.ReuseAddr,
		l.NoDelay,
		l.OOBInline,
		func() error { return l.SendTimeout(cfg.HTTP.SendTimeout()) },
		func() error { return l.V6Only(v6only) },
		func() error { return l.DeferAccept(cfg.DeferAccept) },
		func() error { return l.Bind(addr) },
		func() error { return l.Listen(backlog) },
	} {
		if err := step(); err != nil {
			l.Close()
			return nil, fmt.Errorf("listen on %v: %w", addr, err)
		}
	}
	return l, nil
}
