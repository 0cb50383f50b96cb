#!/bin/sh
# Makes the folders of this directory with tools that share no code with this workspace: OpenSSL
# and Fabric's cryptogen. Run it in an empty folder with `cryptogen` in the PATH, then copy the
# folders here. Only a test reads them; every key in them is a throw-away.
set -eu

# openssl: an MSP whose CA, user (with fabric-ca's attributes) and revocation list come from OpenSSL.
mkdir -p openssl/cacerts openssl/crls openssl/signcerts openssl/keystore openssl/revoked
cat > ca.cnf <<'CNF'
[ca]
default_ca = here
[here]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 1
crl_extensions = crl
[crl]
authorityKeyIdentifier = keyid:always
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[user]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
authorityKeyIdentifier = keyid
1.2.3.4.5.6.7.8.1 = DER:7b226174747273223a7b2273616c75732e726f6c65223a2270726f7669646572227d7d
[plain]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
CNF
: > index.txt
echo 01 > crlnumber
key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }
issue() { # key subject extensions serial certificate
    openssl req -new -key "$1" -subj "$2" -out request.csr
    openssl x509 -req -in request.csr -CA openssl/cacerts/ca.pem -CAkey ca.key -set_serial "$4" \
        -days 36500 -sha256 -extfile ca.cnf -extensions "$3" -out "$5"
}
key ca.key
openssl req -x509 -new -key ca.key -subj '/C=CH/ST=Zürich/O=Clinic, North/CN=ca' -utf8 \
    -days 36500 -sha256 -config ca.cnf -extensions root -out openssl/cacerts/ca.pem
key openssl/keystore/user.key
issue openssl/keystore/user.key '/C=CH/O=Clinic, North/OU=client/OU=ward 3/CN=doctor #1' user 0x00ab01 \
    openssl/signcerts/doctor.pem
key revoked.key
issue revoked.key '/O=Clinic, North/OU=client/CN=former' plain 0xff02 openssl/revoked/former.pem
openssl ca -config ca.cnf -revoke openssl/revoked/former.pem -keyfile ca.key -cert openssl/cacerts/ca.pem
openssl ca -config ca.cnf -gencrl -keyfile ca.key -cert openssl/cacerts/ca.pem -out openssl/crls/crl.pem
cat > openssl/config.yaml <<'YAML'
# Written by hand, as an administrator may.
NodeOUs:
  Enable: true
  ClientOUIdentifier: {Certificate: "cacerts/ca.pem", OrganizationalUnitIdentifier: client}
  AdminOUIdentifier:
    OrganizationalUnitIdentifier: admin
YAML
# OpenSSL leaves S as it comes; about half of these are high.
for number in 0 1 2 3 4 5 6 7; do
    printf 'message %s' "$number" |
        openssl dgst -sha256 -sign openssl/keystore/user.key | od -An -v -tx1 | tr -d ' \n'
    echo
done > openssl/signatures.txt

# A name with every attribute that Go prints, and every character that it escapes.
mkdir -p openssl/names
key names.key
openssl req -x509 -new -key names.key -utf8 -days 36500 -sha256 -out openssl/names/names.pem -subj \
    '/serialNumber=7/C=CH/C=DE/ST=Zürich/L=Winterthur/street=Weg 1/postalCode=8400/O=Clinic, North/OU=client/OU= ward/CN=first/CN=#2 <x>;"\\ '

# cryptogen: what Fabric's own tool writes.
cat > crypto-config.yaml <<'YAML'
PeerOrgs:
  - {Name: Org1, Domain: org1.example.com, EnableNodeOUs: true, Template: {Count: 1}, Users: {Count: 1}}
YAML
cryptogen generate --config crypto-config.yaml --output crypto-config
org=crypto-config/peerOrganizations/org1.example.com
mkdir -p cryptogen/signers
cp -r $org/msp/. cryptogen/
cp $org/peers/*/msp/signcerts/*.pem $org/users/*/msp/signcerts/*.pem cryptogen/signers/
