//go:build stores && race

package stores

// race is whether the tests, and so the binary they drive, watch for data races.
const race = true
