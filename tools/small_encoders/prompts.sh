#!/usr/bin/env bash
# Recorded prompts of five voices as 16 kHz FLAC files, and their copyright files.
#   prompts.sh OUT      writes OUT/speech/ and OUT/sources/; needs Debian's apt-get and ffmpeg
set -euo pipefail
out=$(realpath -m "$1")
[ -f "$out/done" ] && exit 0
mkdir -p "$out"/{packages,unpacked,speech,sources}
cd "$out/packages"
for language in en es fr it ru; do
  package=asterisk-core-sounds-$language-g722
  apt-get download "$package"
  dpkg -x "$package"_*.deb "$out/unpacked"
  cp "$out/unpacked/usr/share/doc/$package/copyright" "$out/sources/$package.copyright"
done
# Half a second at the least, and no silence.
find "$out/unpacked" -name '*.g722' -size +7999c -not -path '*/silence/*' | sort | while read -r file; do
  name=${file#"$out"/unpacked/usr/share/asterisk/sounds/}
  ffmpeg -nostdin -v error -y -f g722 -i "$file" -ar 16000 "$out/speech/$(tr / _ <<< "${name%.g722}").flac"
done
touch "$out/done"
