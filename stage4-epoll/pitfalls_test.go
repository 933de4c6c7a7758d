package main

import (
	"testing"

	"fourways.example/common/servertest"
)

// TestPitfalls plays the pitfalls that this stage is free of, against a server that has them and
// against this one.
func TestPitfalls(t *testing.T) {
	servertest.RunPitfalls(t, servertest.Self(t, 4))
}
