"""Awkward texts for CLIP's tokenizer (see clip_tokens.py): lists by hand, and random ones of the same pieces."""

from __future__ import annotations

import html.entities
import random
import string

# What UTF-8 is read as by mistake, in the order in which ftfy tries it.
ENCODINGS = [
    "latin-1",
    "sloppy-windows-1252",
    "sloppy-windows-1251",
    "sloppy-windows-1250",
    "sloppy-windows-1253",
    "sloppy-windows-1254",
    "sloppy-windows-1257",
    "iso-8859-2",
    "macroman",
    "cp437",
]

PROMPTS = [
    "", " ", "   ", "\n", "a", "A", "a red circle", "A photo of a CAT.", "a  photo \t of\n a dog", " lead", "trail ",
    "highly detailed, 8k, artstation, trending", "an astronaut riding a horse, by Greg Rutkowski",
    "photograph of an astronaut; f/1.8 (85mm) @ ISO-100 #nofilter", "supercalifragilisticexpialidocious",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis", "zzzzzzzzzzzzzzzzzzzz",
    "aaaa aaa aa a", "ab" * 60, "!!!???...", "-----", "****bold**** __under__ ~~~",
    "snake_case_name and kebab-case-name camelCaseName",
    "C:\\path\\file.txt /usr/bin/env https://example.org/a?b=c&d=e#f user@example.org", "a/b\\c|d", "[x](y){z}<w>",
    "$100 100% 1+1=2", "2023-01-31 12:34:56", "3.14159", "1,000,000", "0x1F4A9", "No.5", "4k 8K 16mm f1.4",
    "12345678901234567890", "½ ¼ ² ³ Ⅷ ⅻ ① ⑳ 〇 ౧ ٣٤", "word " * 100, "1 2 3 4 5 6 7 8 9 " * 12, "x" * 2000, "é" * 200,
    "😀" * 40, ("a b c " * 12 + "d ") + "tail", " ".join(["a"] * 74), " ".join(["a"] * 75), " ".join(["a"] * 76),
    "a" * 75 + " b" * 75,
]  # fmt: skip

CONTRACTIONS = [
    "it's", "IT'S", "I'LL", "we've", "WE'VE", "they're", "I'm", "he'd", "don't", "can't've", "'s", "'S", "''s",
    "'tis", "'twas", "rock 'n' roll", "o'clock", "y'all'd've", "it’s", "I’LL", "‘quoted’", "x'ſ", "'ſ", "it`s",
    "it´s", "itʼs", "'ll", "'lll", "'re're", "a'b'c", "dogs'", "l'été",
]  # fmt: skip

SPECIALS = [
    "<|startoftext|>", "<|endoftext|>", "<start_of_text>", "<end_of_text>", "a <start_of_text> b <end_of_text> c",
    "<START_OF_TEXT>", "<End_Of_Text>", "<ſtart_of_text>", "x<end_of_text>y", "<start_of_text", "start_of_text>",
    "<<start_of_text>>", "<end_of_text><end_of_text>", "</w>", "a</w>b", "<pad>", "<unk>", "</s>",
    "<end_of_text> " * 80,
]  # fmt: skip

SCRIPTS = [
    "naïve café", "São Paulo, coração", "Ångström ß", "žluťoučký kůň úpěl ďábelské ódy", "Zażółć gęślą jaźń",
    "çağrı şöyle İstanbul ISPARTA ıI", "Đặng Thái Sơn, Việt Nam", "Hafþór Ægir", "Привет, мир!", "ЁЖИК в тумане",
    "Їжак ґанок", "Ελληνικά κείμενο", "ΣΑΣ ΟΔΥΣΣΕΥΣ Σ", "ΑΣ. ΑΣ' ΣΑ", "ᾼ ᾳ \u0345 x\u0345y α\u0345", "日本語のテキスト",
    "东京塔在夜里", "漢字かな交じり文", "한국어 텍스트", "각 각", "ㄱㄴㄷ", "العربية سلام", "مرحبا بالعالم ١٢٣", "فارسی می\u200cخواهم",
    "עברית שלום", "שָ\u05c1לוֹם", "हिन्दी नमस्ते", "क्षत्रिय", "বাংলা", "தமிழ்", "ಕನ್ನಡ", "ไทย ภาษาไทย", "ລາວ",
    "မြန်မာ", "ქართული ᲥᲐᲠᲗᲣᲚᲘ", "Հայերեն", "አማርኛ", "ᏣᎳᎩ ꭰ", "ᚠᚢᚦ", "𐐀𐐨 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒥", "ꙮ", "Ⓐⓐ", "ʻokina",
    "x\u030c x\u0323\u0307 é\u0302", "e\u0301 é e\u0301\u0301", "\u0301alone", "A\u030a \u212b Å", "\u2126 \u212a K",
    "ṩ s\u0323\u0307 s\u0307\u0323", "가\u11a8 \u1100\u1161\u11a8", "אבּ \ufb31", "क़ \u0958", "Ǆ ǅ ǆ Ǳ Ǉ ǋ Ĳssel ĳ ŉ",
    "mixed русский and 中文 with عربي", "abcабвαβγ", "a1б2γ3", "ﷺ", "㍿ ㎏ ℡ ™ № ﬓ", "ℌ ℵ ∑ ∞ ≠ √2 π≈3.14",
    "→ ⇒ ★ ☃ ♥ ✔ ✂", "a\xadb soft", "a\u200bb zero", "a\u2060b", "a\u200eb\u200fc", "\u202eabc\u202c",
]  # fmt: skip

EMOJI = [
    "😀", "I ❤️ you", "👍🏽", "👨\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈", "🇩🇪🇯🇵", "1️⃣ #️⃣",
    "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f", "a😀b", "😀😀 😀", "👩🏿\u200d🚀 on 🌕", "☺︎ ☺️",
    "🧑\u200d💻🦄🥸", "(╯°□°)╯︵ ┻━┻", "¯\\_(ツ)_/¯", "( \u0361° \u035cʖ \u0361°)", "ʕ•ᴥ•ʔ", "ಠ_ಠ",
]  # fmt: skip

WIDTHS = [
    "ＬＯＵＤ\u3000ＮＯＩＳＥＳ", "Ｕﾀｰﾝ", "ｶﾞｷﾞｸﾞ ﾊﾟ", "１２３％＆", "ﾡﾢ ￡￥￦", "ﬁne ﬂuﬃest ﬀ ﬄ ﬅop ﬆ",
    "“curly” ‘single’ „low“ ‚x‘ «guillemets» ‹x›", "‛x‟", "＜ｂ＞ &amp;", "－＿～", "「」｢｣", "\u3000", "ＩＴ＇Ｓ",
]  # fmt: skip

WHITE_SPACE = [
    "a\tb", "a\nb", "a\rb", "a\r\nb", "a\n\rb", "a\u2028b\u2029c", "a\x85b", "a\x0bb", "a\x0cb",
    "a\x1cb\x1db\x1eb\x1fb", "a\xa0b", "a\u3000b", "a\u2003b\u2009c\u202fd\u205fe", "a\u1680b", "a\u180eb",
    "a\ufeffb", "\ufeffa", "a&#xfeff", "&#xfeff x", "\xa0 a \xa0", "\n\n\n", "it's\nI'LL\n", "line one\n\nline two\n",
]  # fmt: skip

CONTROLS = [
    "a\x00b", "\x00", "a\x01b\x08c", "a\x7fb", "\x1b[31mred\x1b[0m", "\x1b[1;32;40mx", "\x1b[٣mx", "\x1b[x", "\x1b",
    "\x1b[", "a\x1ab", "a\x80b", "a\x93quoted\x94", "café \x92s", "\x81\x8d\x8f\x90\x9d", "a\u206ab\u206fc",
    "a\ufff9b\ufffac\ufffbd￼e", "�", "a�b", "\ue000 \uf8ff", "\U000f0000", "\U0001d173", "\ufdd0 \uffff \U0001ffff",
    "a\ud83db", "\ude00", "\ude00\ud83d", "\ud83d", "x\ud83d \ude00y", "\ud83d\x00x",
]  # fmt: skip

ENTITIES = [
    "&amp;", "&amp;amp;", "&amp;amp;amp;", "&amp;amp;amp;amp;amp;", "&lt;b&gt;", "&lt;&amp;amp;", "<b>&amp;</b>",
    "<b>&amp;amp;amp;</b>", "a < b &eacute;", "x &eacute;\n<y> &eacute;\nz &EACUTE;",
    "&eacute; &Eacute; &EACUTE; &eACUTE;", "P&EACUTE;REZ BUNDESSTRA&SZLIG;E", "&NTILDE; &nTILDE;", "&AMP;", "&AMP",
    "&amp", "&ampx", "&notit; &notin; &NOTIN; &not", "this&not that", "&copy2024", "&COPY;", "&REG",
    "&frac12; &FRAC12;", "&hellip;", "&HELLIP;", "&ldquo;x&rdquo;", "&#39;", "&#039;s", "&amp;#39;s", "&#x27;",
    "&#X27;", "&#x2019;", "&#8217;", "&#146;", "&#x92;", "&#128;", "&#0;", "&#x0;", "&#1;", "&#11;", "&#13;",
    "&#127;", "&#xd800;", "&#xD83D;&#xDE00;", "&#128512;", "&#x1F600;", "&#x110000;", "&#99999999999999999999;",
    "&#xfdd0;", "&#xffff;", "&#59;", "&#x3b;", "&#", "&#;", "&#x;", "&#xg;", "&#39", "&#39x", "&#x41zz;", "&#12ab;",
    "&;", "&", "&&amp;&", "& amp;", "&am p;", "&unknown;", "&CounterClockwiseContourIntegral;", "&NotEqualTilde;",
    "&fjlig;", "&bne;", "&nbsp;&nbsp;x", "&shy;a", "&zwj;", "&Tab;&NewLine;x", "&lang;&rang;", "&phi;&PHI;&Phi;",
    "&aelig;&AELIG;", "&OELIG;&SCARON;", "&quot;&apos;&QUOT;", "&gt&lt", "&GT;&LTIMES;&ltimes;", "&sup2;&SUP3;",
    "&ATILDE;&COPY;", "&Atilde;&copy;", "caf&Atilde;&copy;", "&#195;&#169;", "&#xe2;&#x82;&#xac;",
    "Tom &amp;&amp; Jerry", "fish &amp; chips &mdash; caf&eacute; &lt;3", "R&D AT&T", "&uuml;ber &UUML;BER",
    "&Jscr;ohn &HilbertSpace;", "&checkmark;", "&" * 40, "&" + "a" * 40 + ";",
]  # fmt: skip

# Not UTF-8 read wrongly, but close to it, or only in part.
NEARLY_MISREAD = [
    "voilÃ  le travail", "voilÃ le travail", "Ã la mode", "fÃ cil", "Ã quele", "Ã quela Ã s vezes", "Ã  quel point",
    "Â£5", "Â°C", "RÃ©sumÃ© â€” “ok”", "â€œquotedâ€\x9d", "â€œquotedâ€�", "â€œlostâ€?", "cafÃ? x", "Ã?ber", "sÃ³",
    "ÃƒÂ©", "ÃƒÆ’Ã‚Â©", "日本 cafÃ©", "cafÃ© 😀", "âœ” No problems", "l’humanitÃ©", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "РїСЂРёРІРµС‚",
    "ГўВЂВ™a", "вЂ™", "ВЂ™ РµС‰Рµ", "Å", "Å Å", "Ø Ù", "ØªØ\xadÙŠØ§", "Î•Î»Î»", "β€™", "ā€™", "Ä€", "å…¬", "æ—¥æœ¬",
    "ã‚¢", "ç•ª", "√©", "‚Äôs", "‚Äú", "caf√©", "√±", "‚îú", "Γö£", "à²•", "à¤¹", "ðŸ˜€", "ð\x9f\x98\x80",
    "í\xa0½í¸\x80", "À\x80x", "ï»¿bom", "ï¿½", "œuvre Œuvre", "œ.", "œ", "× ²", "×²", "10 € ¥ £", "€5", "É°",
    "¿Qué? ¡Hola!", "Ωmega É", "яÉ", "10°C ±2 µm", "§5 ¶2", "1º 2ª", "«É»", "º¬†x", "¬†x", "¦¦", "░░▒▓█", "╔═╗É",
    "├ô", "a\x92b Ã©", "ÀÈÌÒÙ", "ÄÖÜ äöü ß", "ÆØÅ æøå", "ŠŽ š ž", "ÑANDÚ ñandú", "ç’est", "É…", "Ó»", "İ™", "ě€",
    "Ý¢", "†‡", "ˆ˜", "ƒ(x)", "„É“", "É•a", "BJÃ–RK", "Ã¢â‚¬Â¢", "Ã¢â‚¬â„¢", "â€¦", "â€“", "â„¢", "NÂ°5", "Ã\xa0",
    "Ã\xad", "Â\xa0Â\xa0", "a Â b", "Hello. Â How",
]  # fmt: skip

# One for each sign of misreading that the others do not need.
SIGNS = [
    "aВ¬", "x Ä£", "æ‚±", "µ▒░", "├»", "à²…", "Hello.Â How", "Ø´Ø´", "na≈°", "‚âà", "it‚Äôs – ok", "&amp&#59;x",
]  # fmt: skip

TEXTS = [
    "“quoted” — it’s…", "naïve café à la", "日本語", "Привет", "Ελλάδα", "العربية", "עברית", "हिन्दी", "😀👍🏽",
    "žluťoučký kůň", "çağrı şöyle", "£5 €6 °C",
]  # fmt: skip


def misread(text: str, encoding: str) -> str | None:
    """UTF-8 taken for `encoding`."""
    try:
        return text.encode("utf-8").decode(encoding)
    except UnicodeDecodeError:
        return None


def _misread_texts() -> list[str]:
    once = [misread(text, encoding) for text in TEXTS for encoding in ENCODINGS]
    twice = [misread(text, encoding) for text in once[::7] if text for encoding in ENCODINGS[:4]]
    lost = [text.replace("\xa0", " ") for text in once if text and "\xa0" in text]
    return [text for text in once + twice + lost if text]


def _damaged_texts() -> list[str]:
    """Characters of two to four bytes, and CESU-8, misread after one of the bytes was lost or taken for a space."""
    characters = ["é", "à", "⠁", "あ", "☠", "\U00020000", "\U0001f800", "😠", "\ud83d\ude20"]
    texts = []
    for encoded in (character.encode("utf-8", "surrogatepass") for character in characters):
        for at in range(1, len(encoded)):
            for byte in [0x1A, 0x3F, 0x20] if encoded[at] == 0xA0 else [0x1A, 0x3F]:
                damaged = encoded[:at] + bytes([byte]) + encoded[at + 1 :]
                texts.append("Ã© " + damaged.decode("sloppy-windows-1252"))
    return texts


def awkward_texts() -> list[str]:
    parts = [PROMPTS, CONTRACTIONS, SPECIALS, SCRIPTS, EMOJI, WIDTHS, WHITE_SPACE, CONTROLS, ENTITIES]
    parts += [NEARLY_MISREAD, SIGNS]
    texts = [text for part in parts for text in part]
    return list(dict.fromkeys(texts + _misread_texts() + _damaged_texts()))


def random_texts(count: int, seed: int) -> list[str]:
    """Pieces of the lists above and single characters, put together at random."""
    choose = random.Random(seed)
    names = sorted(html.entities.html5)
    lists = [CONTRACTIONS, SPECIALS, SCRIPTS, EMOJI, WIDTHS, WHITE_SPACE, CONTROLS, ENTITIES, NEARLY_MISREAD]
    halves = sorted({character for encoding in ENCODINGS for character in bytes(range(0x80, 0x100)).decode(encoding)})

    def piece() -> str:
        kind = choose.randrange(8)
        if kind == 0:
            return "".join(choose.choice(halves) for _ in range(choose.randrange(1, 5)))
        if kind == 1:
            return misread(choose.choice(TEXTS), choose.choice(ENCODINGS)) or ""
        if kind == 2:
            text = misread(choose.choice(TEXTS), choose.choice(ENCODINGS)) or ""
            return misread(text, choose.choice(ENCODINGS)) or ""
        if kind == 3:
            return choose.choice(["&", "&&", "&amp;"]) + choose.choice(names) + choose.choice(["", ";", "x", " "])
        if kind == 4:
            damaged = bytearray(choose.choice(TEXTS).encode())
            damaged[choose.randrange(len(damaged))] = choose.choice([0x3F, 0x1A, 0x20, 0xA0, 0x80])
            return damaged.decode(choose.choice(ENCODINGS[:7]), "replace")
        if kind == 5:
            return "".join(choose.choice(string.printable) for _ in range(choose.randrange(1, 6)))
        return choose.choice(choose.choice(lists))[:60]

    return ["".join(piece() for _ in range(choose.randrange(1, 6))) for _ in range(count)]
