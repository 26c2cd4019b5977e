;; Resize, flip and normalise of decoded images. A filter weight w is 2^14 w as i16; a pixel x is 2^7 x, so that the
;; rounding product q15mulr gives 2^6 w x: sums of weighted bytes stay in i16 with 6 bits below the point. Addresses,
;; strides and steps are in bytes. Pixels have four bytes, of which the fourth is carried along and dropped.
(module
  (import "env" "memory" (memory 1 65536 shared))

  ;; One output row of the vertical pass: n blocks of 16 bytes (4 pixels) from `taps` rows `stride` apart. Writes 32 bytes
  ;; per block: channels as i16 with 7 bits below the point, as the horizontal pass wants them.
  (func $vertical (export "vertical")
    (param $src i32) (param $stride i32) (param $n i32) (param $w i32) (param $taps i32) (param $dst i32)
    (local $p i32) (local $q i32) (local $t i32) (local $x v128) (local $wv v128) (local $lo v128) (local $hi v128)
    (loop $blocks
      (local.set $p (local.get $src))
      (local.set $q (local.get $w))
      (local.set $t (local.get $taps))
      (local.set $lo (i32x4.splat (i32.const 0)))
      (local.set $hi (i32x4.splat (i32.const 0)))
      (loop $sum
        (local.set $x (v128.load (local.get $p)))
        (local.set $wv (v128.load16_splat (local.get $q)))
        (local.set $lo (i16x8.add (local.get $lo)
          (i16x8.q15mulr_sat_s (i16x8.shl (i16x8.extend_low_i8x16_u (local.get $x)) (i32.const 7)) (local.get $wv))))
        (local.set $hi (i16x8.add (local.get $hi)
          (i16x8.q15mulr_sat_s (i16x8.shl (i16x8.extend_high_i8x16_u (local.get $x)) (i32.const 7)) (local.get $wv))))
        (local.set $p (i32.add (local.get $p) (local.get $stride)))
        (local.set $q (i32.add (local.get $q) (i32.const 2)))
        (br_if $sum (local.tee $t (i32.sub (local.get $t) (i32.const 1)))))
      (v128.store (local.get $dst) (i16x8.add (local.get $lo) (local.get $lo)))
      (v128.store offset=16 (local.get $dst) (i16x8.add (local.get $hi) (local.get $hi)))
      (local.set $dst (i32.add (local.get $dst) (i32.const 32)))
      (local.set $src (i32.add (local.get $src) (i32.const 16)))
      (br_if $blocks (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))

  ;; One output row of the horizontal pass to f32. `at` holds, per output pixel, the offset of its first tap in the row;
  ;; `w` the weights, two taps (16 bytes) at a time, `pairs` of them per pixel. value * scale + bias per channel.
  (func $horizontal_f32 (export "horizontal_f32")
    (param $row i32) (param $at i32) (param $w i32) (param $pairs i32) (param $n i32)
    (param $dst i32) (param $plane i32) (param $step i32) (param $scale i32) (param $bias i32)
    (local $p i32) (local $t i32) (local $acc v128) (local $s v128) (local $b v128) (local $second i32) (local $third i32)
    (local.set $s (v128.load (local.get $scale)))
    (local.set $b (v128.load (local.get $bias)))
    (local.set $second (i32.add (local.get $dst) (local.get $plane)))
    (local.set $third (i32.add (local.get $second) (local.get $plane)))
    (loop $pixels
      (local.set $p (i32.add (local.get $row) (i32.load (local.get $at))))
      (local.set $t (local.get $pairs))
      (local.set $acc (i32x4.splat (i32.const 0)))
      (loop $sum
        (local.set $acc (i16x8.add (local.get $acc)
          (i16x8.q15mulr_sat_s (v128.load (local.get $p)) (v128.load (local.get $w)))))
        (local.set $p (i32.add (local.get $p) (i32.const 16)))
        (local.set $w (i32.add (local.get $w) (i32.const 16)))
        (br_if $sum (local.tee $t (i32.sub (local.get $t) (i32.const 1)))))
      (local.set $acc (f32x4.add
        (f32x4.mul
          (f32x4.convert_i32x4_s
            (i32x4.add (i32x4.extend_low_i16x8_s (local.get $acc)) (i32x4.extend_high_i16x8_s (local.get $acc))))
          (local.get $s))
        (local.get $b)))
      (v128.store32_lane 0 (local.get $dst) (local.get $acc))
      (v128.store32_lane 1 (local.get $second) (local.get $acc))
      (v128.store32_lane 2 (local.get $third) (local.get $acc))
      (local.set $dst (i32.add (local.get $dst) (local.get $step)))
      (local.set $second (i32.add (local.get $second) (local.get $step)))
      (local.set $third (i32.add (local.get $third) (local.get $step)))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $pixels (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))

  ;; The same to u8, rounded to nearest.
  (func $horizontal_u8 (export "horizontal_u8")
    (param $row i32) (param $at i32) (param $w i32) (param $pairs i32) (param $n i32)
    (param $dst i32) (param $plane i32) (param $step i32)
    (local $p i32) (local $t i32) (local $acc v128) (local $second i32) (local $third i32)
    (local.set $second (i32.add (local.get $dst) (local.get $plane)))
    (local.set $third (i32.add (local.get $second) (local.get $plane)))
    (loop $pixels
      (local.set $p (i32.add (local.get $row) (i32.load (local.get $at))))
      (local.set $t (local.get $pairs))
      (local.set $acc (i32x4.splat (i32.const 0)))
      (loop $sum
        (local.set $acc (i16x8.add (local.get $acc)
          (i16x8.q15mulr_sat_s (v128.load (local.get $p)) (v128.load (local.get $w)))))
        (local.set $p (i32.add (local.get $p) (i32.const 16)))
        (local.set $w (i32.add (local.get $w) (i32.const 16)))
        (br_if $sum (local.tee $t (i32.sub (local.get $t) (i32.const 1)))))
      (local.set $acc (i32x4.min_s
        (i32x4.shr_s
          (i32x4.add
            (i32x4.add (i32x4.extend_low_i16x8_s (local.get $acc)) (i32x4.extend_high_i16x8_s (local.get $acc)))
            (i32x4.splat (i32.const 32)))
          (i32.const 6))
        (i32x4.splat (i32.const 255))))
      (v128.store8_lane 0 (local.get $dst) (local.get $acc))
      (v128.store8_lane 4 (local.get $second) (local.get $acc))
      (v128.store8_lane 8 (local.get $third) (local.get $acc))
      (local.set $dst (i32.add (local.get $dst) (local.get $step)))
      (local.set $second (i32.add (local.get $second) (local.get $step)))
      (local.set $third (i32.add (local.get $third) (local.get $step)))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $pixels (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
