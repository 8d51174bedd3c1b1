// A login service as one would write it in Go: net/http on both sides, HTTP/2 to the token server.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const bodyMaxBytes = 16 << 10
const answerMaxBytes = 64 << 10

type credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

type token struct {
	AccessToken  string  `json:"access_token"`
	ExpiresIn    float64 `json:"expires_in"`
	TokenType    string  `json:"token_type"`
	Scope        string  `json:"scope"`
	RefreshToken string  `json:"refresh_token"`
}

func newClient(caFile string) *http.Client {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &http.Client{
		Timeout: 12 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: roots},
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 1024,
		},
	}
}

// ask posts one login to the token server. Any answer but a token is an error.
func ask(client *http.Client, from credentials) (token, error) {
	var granted token
	form := url.Values{
		"client_id":     {os.Getenv("CLIENT_ID")},
		"client_secret": {os.Getenv("CLIENT_SECRET")},
		"username":      {from.Username},
		"password":      {from.Password},
		"grant_type":    {"password"},
	}
	response, err := client.Post(os.Getenv("TOKEN_URL"), "application/x-www-form-urlencoded",
		strings.NewReader(form.Encode()))
	if err != nil {
		return granted, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerMaxBytes))
	if err != nil {
		return granted, err
	}
	if response.StatusCode != http.StatusOK {
		return granted, http.ErrNotSupported
	}
	return granted, json.Unmarshal(body, &granted)
}

func main() {
	client := newClient(os.Getenv("CA_FILE"))
	http.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		var from credentials
		body := http.MaxBytesReader(w, r.Body, bodyMaxBytes)
		if r.Method != http.MethodPost || json.NewDecoder(body).Decode(&from) != nil {
			http.Error(w, "Bad Request", http.StatusBadRequest)
			return
		}
		granted, err := ask(client, from)
		if err != nil {
			http.Error(w, "Internal Server Error", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(granted)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
