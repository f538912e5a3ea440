package server

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
)

// Addresses is where a server serves. It is written to server.json while it does.
type Addresses struct {
	Operator string `json:"operator_url"` // http://127.0.0.1:8080
	Device   string `json:"device_url"`   // https://host:8443
	MQTT     string `json:"mqtt_url"`     // tls://host:8883
	PID      int    `json:"pid"`
}

const readyFile = "server.json"

// announce writes server.json, whole or not at all.
func (a Addresses) announce(data string) error {
	b, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(data, readyFile), append(b, '\n'), 0o644)
}

func unannounce(data string) error {
	err := os.Remove(filepath.Join(data, readyFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
