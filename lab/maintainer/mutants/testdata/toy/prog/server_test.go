package main

import "testing"

func TestConformance(t *testing.T) {
	t.Run("text/cheap", func(t *testing.T) {
		if text() != "cheap" {
			t.Error("wrong")
		}
	})
}
