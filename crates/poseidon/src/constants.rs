//! The numbers of the permutation (section 2.1).
//!
//! They are those of `qp-plonky2` 1.6.0, copied from its crate `qp-poseidon-core` 3.1.0 (`src/poseidon2.rs`, MIT-0): so a
//! circuit of it can check our hashes. Their authors drew the round constants with the seed 0x3141592653589793; the diagonal
//! is that of `p3-goldilocks` up to 0.4, `MATRIX_DIAG_12_GOLDILOCKS`.

use trainproof_field::Goldilocks;

use crate::WIDTH;

/// Rounds with a power of every element, half of them before and half after the internal rounds.
pub const EXTERNAL_ROUNDS: usize = 8;
/// Rounds with a power of the first element only.
pub const INTERNAL_ROUNDS: usize = 22;

/// Words that must be canonical, as elements.
const fn elements<const N: usize>(words: [u64; N]) -> [Goldilocks; N] {
    let mut elements = [Goldilocks::from_residue(0); N];
    let mut i = 0;
    while i < N {
        assert!(words[i] < Goldilocks::ORDER);
        elements[i] = Goldilocks::from_residue(words[i]);
        i += 1;
    }
    elements
}

/// Added before the powers of the first external rounds.
pub const INITIAL: [[Goldilocks; WIDTH]; EXTERNAL_ROUNDS / 2] = [
    elements([
        0xc002_e770_975b_1607,
        0xbca5_1a8d_fe14_593a,
        0x7293_8dfb_e774_f7f9,
        0xe4f2_fe29_e032_34ac,
        0xd5e0_ba2f_541b_6449,
        0xec33_b868_f3cc_46c1,
        0x486d_cb55_419d_475a,
        0x6c1c_b2a3_58cc_24f1,
        0xe3f3_0d50_9a14_36bb,
        0xd9a6_4f06_8dca_7c29,
        0xe59b_3f57_aabb_a1ae,
        0x2a3d_d450_5b47_8fdc,
    ]),
    elements([
        0xada1_f8dc_7676_ed25,
        0x2711_aa8b_5509_d516,
        0x4ae6_acd0_c9c9_2897,
        0x56eb_3d6b_5256_d67a,
        0x1f7a_9d55_923b_f51e,
        0x3600_427d_397a_7f68,
        0xe507_6df7_5b72_c3d0,
        0xfcd5_9aa1_2c60_90ad,
        0xcd89_5e8c_68b5_7a9e,
        0x41df_7ef9_d730_ae3e,
        0xee3e_2b88_9abe_977d,
        0xd29b_b7ed_beb9_c405,
    ]),
    elements([
        0x7d5c_08ee_f608_e382,
        0x89ae_889c_aaf0_802c,
        0xb35a_8e97_6d2a_f617,
        0xdb14_234e_afaf_5173,
        0x78f0_4462_d48b_1c98,
        0x2652_93b0_e47c_e88a,
        0x999a_649b_69b9_d32f,
        0x64b0_a186_698e_01d3,
        0xee0b_22d0_dfae_8bb8,
        0x4fd5_3e50_ca04_a7ee,
        0x5762_bfe1_81f2_5047,
        0xf515_93e2_beb5_e3bd,
    ]),
    elements([
        0x1e5e_2b57_60e3_2477,
        0x6224_62a1_f9aa_aeed,
        0xaa28_4b3e_cdb2_22ae,
        0x63c8_e72f_542b_f3fc,
        0x3ba5_88ca_cb43_b5e0,
        0x23ed_a6f3_c991_50dd,
        0xaad3_bea4_baac_9a5a,
        0xe9da_8d69_9b94_184a,
        0xcdb1_3f4c_d93e_024c,
        0x902c_bd09_56f6_55e3,
        0x5b4e_40ff_c759_532f,
        0xde79_5c20_a235_7af7,
    ]),
];

/// Added to the first element in the internal rounds.
pub const INTERNAL: [Goldilocks; INTERNAL_ROUNDS] = elements([
    0x97f7_798a_784a_d863,
    0xd1d2_bf08_2f60_d4f0,
    0x69a3_77a7_9f9a_d206,
    0xa9d0_6906_a385_8e24,
    0x2952_7500_1eed_e5b5,
    0x5874_e441_117b_d746,
    0x8a08_4bbb_a8ed_86cc,
    0x3def_d764_5cde_6425,
    0x3998_cfe6_871c_c137,
    0x3e52_ef8b_ca48_314a,
    0x964a_209f_85dc_9ecc,
    0x3fcc_9ee8_2cc4_577e,
    0x8e79_b4a5_d009_6d6d,
    0x8492_362a_d239_2556,
    0xee72_f470_2625_74d6,
    0x1e0e_1849_6da2_444a,
    0x0f3a_74bf_215e_aac6,
    0x1b06_1b76_a1c0_ded3,
    0x192c_42d8_6803_d7a6,
    0xf6d4_9ff9_97ae_0260,
    0x3ec3_72e7_a0fa_3786,
    0x5538_cdf4_f234_45d3,
]);

/// Added before the powers of the last external rounds.
pub const TERMINAL: [[Goldilocks; WIDTH]; EXTERNAL_ROUNDS / 2] = [
    elements([
        0x7b72_c539_e0ea_4c6e,
        0x1445_73da_e2ce_9976,
        0x8020_28b6_8f35_fc88,
        0x6d36_c502_2c4f_e7c2,
        0xa205_d0ff_a9b9_def3,
        0xf6e7_e38b_1ea6_ba2f,
        0x34f7_909a_e525_8d64,
        0xb046_4d9d_77b9_7fca,
        0x64dd_b9d5_de7e_00a6,
        0x0ed0_d75c_2797_5d97,
        0x1cbb_36f1_1127_338b,
        0x6673_e505_cfd0_b6ba,
    ]),
    elements([
        0x605f_9028_3087_2e01,
        0x3fd5_eb92_7e95_fe4f,
        0xe810_25b5_a24c_69cd,
        0xf7d0_ce75_de23_f74e,
        0xf399_42b6_a858_5089,
        0x6d80_8a08_f7b7_1df6,
        0xf880_6b65_88f4_9a8b,
        0x57df_2d8c_2a32_107a,
        0x16e7_c207_4d65_4a2d,
        0x213d_e241_fcf3_3835,
        0xb0f2_b890_5a09_76f6,
        0xd8e3_cf2b_bd35_5417,
    ]),
    elements([
        0xe498_6916_79d9_330f,
        0x763b_45d2_a382_1b28,
        0x0908_bf65_eb0a_1f0d,
        0x7691_eb2d_194b_24f4,
        0x0e43_5512_33ae_13b2,
        0x93c3_93db_fc2f_e76f,
        0x98f6_0748_5d48_cdea,
        0xe3d9_5f30_3098_19c0,
        0x1ef5_81a9_3eaf_6acf,
        0x0b24_c1b7_a030_fca4,
        0x6243_70be_5670_b327,
        0x5f1e_2861_5a11_e486,
    ]),
    elements([
        0xfe04_051f_909e_042b,
        0x7257_e5b1_47fd_3803,
        0xe6ae_134b_b82f_2e78,
        0x5711_fd5c_f478_4511,
        0xf83a_4266_0c08_c0bc,
        0x2cd8_c96d_9a3c_e855,
        0x7d2f_fb1b_b0e1_7271,
        0x85ae_1528_caea_3811,
        0x52a3_45d5_c7ad_b0b8,
        0x504c_4c51_f3fa_ee94,
        0xbce3_4a64_9cfc_caf9,
        0xe0a3_3892_66fb_6dc9,
    ]),
];

/// The matrix of the internal rounds is all ones, plus this on its diagonal.
pub const DIAGONAL: [Goldilocks; WIDTH] = elements([
    0xc3b6_c08e_23ba_9300,
    0xd84b_5de9_4a32_4fb6,
    0x0d0c_371c_5b35_b84f,
    0x7964_f570_e718_8037,
    0x5daf_18bb_d996_604b,
    0x6743_bc47_b959_5257,
    0x5528_b936_2c59_bb70,
    0xac45_e25b_7127_b68b,
    0xa207_7d7d_fbb6_06b5,
    0xf3fa_ac6f_aee3_78ae,
    0x0c63_88b5_1545_e883,
    0xd27d_bb69_4491_7b60,
]);
