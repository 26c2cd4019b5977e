/** Made-up words that can be read aloud: syllables as digits. */
const consonants = "bdfgklmnprstvz";
const vowels = "aeiou";
const base = consonants.length * vowels.length;

/** A word of at least two syllables for a number; words of different endings never meet. */
export function pseudoWord(number: number, ending: string): string {
  let word = "";
  let rest = number;
  for (let syllables = 0; syllables < 2 || rest > 0; syllables++) {
    const digit = rest % base;
    rest = Math.floor(rest / base);
    word += `${consonants[Math.floor(digit / vowels.length)]}${vowels[digit % vowels.length]}`;
  }
  return word + ending;
}
