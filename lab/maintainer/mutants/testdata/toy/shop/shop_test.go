package shop

import "testing"

func TestPrice(t *testing.T) {
	if Price(10) != 5 {
		t.Error("wrong")
	}
}
