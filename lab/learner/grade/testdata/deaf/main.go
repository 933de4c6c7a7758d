// Deaf runs, and never listens.
package main

import "time"

func main() {
	for {
		time.Sleep(time.Hour)
	}
}
