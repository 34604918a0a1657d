{{/*
A new private RSA JWK, for the simulator. Helm makes keys as PEM, the DER of a PKCS #1 key in base64: a sequence of the
integers version, n, e, d, p, q, dp, dq and qi. They are cut out by their lengths, which take one byte up to 127, and
otherwise as many more as the first one says; a leading zero byte is the sign, which a JWK leaves out.
*/}}
{{- define "mpo.newJwk" -}}
{{- $der := regexReplaceAll "-----[^-]+-----|\\s" (genPrivateKey "rsa") "" | b64dec -}}
{{- $jwk := dict "kty" "RSA" "use" "sig" "alg" "RS256" -}}
{{- $at := 4 -}}
{{- range $member := list "" "n" "e" "d" "p" "q" "dp" "dq" "qi" -}}
{{- $length := index $der (add1 $at | int) | int -}}
{{- $start := add $at 2 | int -}}
{{- if eq $length 129 -}}
{{- $length = index $der $start | int -}}
{{- $start = add1 $start | int -}}
{{- else if eq $length 130 -}}
{{- $length = add (mul 256 (index $der $start)) (index $der (add1 $start | int)) | int -}}
{{- $start = add $start 2 | int -}}
{{- end -}}
{{- $at = add $start $length | int -}}
{{- if eq (index $der $start | int) 0 -}}
{{- $start = add1 $start | int -}}
{{- end -}}
{{- if $member -}}
{{- $_ := substr $start $at $der | b64enc | replace "+" "-" | replace "/" "_" | trimAll "=" | set $jwk $member -}}
{{- end -}}
{{- end -}}
{{- $_ := printf "simulator-%s" (sha256sum $jwk.n | trunc 12) | set $jwk "kid" -}}
{{- toJson $jwk -}}
{{- end -}}
